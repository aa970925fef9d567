//! Mutual TLS: a client needs a certificate of the given authority.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

/// The three files of `--tlscacert`, `--tlscert` and `--tlskey`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority of clients' certificates.
    pub ca: PathBuf,
    /// Our own certificate, with its chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: tokio_rustls::rustls::pki_types::pem::Error,
    },
    /// A file without what it should hold.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// The authority cannot be used.
    #[error("cannot use the certificate authority {path}: {source}")]
    Authority {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Certificate and key do not fit.
    #[error("cannot use the certificate {path}: {source}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: tokio_rustls::rustls::Error,
    },
}

impl TlsFiles {
    /// Reads the files.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut roots = RootCertStore::empty();
        let authority = |source| TlsError::Authority { path: self.ca.clone(), source };
        for certificate in certificates(&self.ca)? {
            roots.add(certificate).map_err(|error| authority(Box::new(error)))?;
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| authority(Box::new(error)))?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|source| TlsError::File { path: self.key.clone(), source })?;
        let unusable = |source| TlsError::Certificate { path: self.certificate.clone(), source };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(&self.certificate)?, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |source| TlsError::File { path: path.to_owned(), source };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(file)?.collect::<Result<_, _>>().map_err(file)?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(found) }
}
