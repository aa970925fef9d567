//! TLS with client certificates: the daemon is checked against `ca.pem`, we show `cert.pem`.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{ClientError, TlsFiles};

/// Shakes hands with the daemon at `address` (`host:port`).
pub(crate) async fn handshake(
    stream: TcpStream,
    address: &str,
    files: &TlsFiles,
) -> Result<TlsStream<TcpStream>, ClientError> {
    let name = address.rsplit_once(':').map_or(address, |(name, _)| name).trim_matches(['[', ']']);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|source| ClientError::Tls(format!("{name} cannot be a server's name: {source}")))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config(&files.directory)?));
    connector.connect(name, stream).await.map_err(|source| ClientError::Tls(source.to_string()))
}

fn config(directory: &Path) -> Result<ClientConfig, ClientError> {
    let unusable = |path: &Path, why: String| ClientError::Tls(format!("{}: {why}", path.display()));
    let certificates = |name: &str| -> Result<Vec<CertificateDer<'static>>, ClientError> {
        let path = directory.join(name);
        CertificateDer::pem_file_iter(&path)
            .and_then(Iterator::collect)
            .map_err(|source| unusable(&path, source.to_string()))
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem")?);
    let key_path = directory.join("key.pem");
    let key =
        PrivateKeyDer::from_pem_file(&key_path).map_err(|source| unusable(&key_path, source.to_string()))?;
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| ClientError::Tls(source.to_string()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates("cert.pem")?, key)
        .map_err(|source| unusable(directory, source.to_string()))
}
