//! A connection to one registry for one repository.

use std::net::{IpAddr, Ipv4Addr};

use oci_client::client::ClientProtocol;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference as OciReference};

use crate::{Digest, Error, Reference};

use super::{ACCEPTED, PullRequest, client_config};

/// One registry, by the way that turned out to work.
pub(super) struct Registry {
    pub client: Client,
    name: Reference,
    auth: RegistryAuth,
}

impl Registry {
    /// Connects and fetches the manifest that `what` (a tag or digest) names. A registry that may be insecure is
    /// asked by unverified TLS first and by plain HTTP when that is not spoken there, as Docker does.
    pub(super) async fn connect(request: &PullRequest, what: &str) -> Result<(Self, bytes::Bytes), Error> {
        // Whoever comes first chooses the provider for the process; all of us choose this one.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let insecure = is_insecure(request.reference.registry(), &request.insecure_registries);
        let secure = Self::new(request, ClientProtocol::Https, insecure)?;
        match secure.manifest_raw(what).await {
            Err(OciDistributionError::RequestError(_)) if insecure => {
                let plain = Self::new(request, ClientProtocol::Http, true)?;
                let raw = plain.manifest(what).await?;
                Ok((plain, raw))
            }
            result => {
                let raw =
                    result.map_err(|error| secure.error(error)).and_then(|raw| secure.verified(what, raw))?;
                Ok((secure, raw))
            }
        }
    }

    fn new(
        request: &PullRequest,
        protocol: ClientProtocol,
        invalid_certificates: bool,
    ) -> Result<Self, Error> {
        let client = Client::try_from(client_config(protocol, invalid_certificates)).map_err(|error| {
            Error::Registry { registry: request.reference.registry().to_owned(), message: causes(&error) }
        })?;
        Ok(Self { client, name: request.reference.clone(), auth: (&request.credentials).into() })
    }

    /// A manifest by tag or digest, verified when it is a digest.
    pub(super) async fn manifest(&self, what: &str) -> Result<bytes::Bytes, Error> {
        let raw = self.manifest_raw(what).await.map_err(|error| self.error(error))?;
        self.verified(what, raw)
    }

    async fn manifest_raw(&self, what: &str) -> Result<bytes::Bytes, OciDistributionError> {
        let name = self.oci_name(what);
        self.client.pull_manifest_raw(&name, &self.auth, &ACCEPTED).await.map(|(raw, _)| raw)
    }

    fn verified(&self, what: &str, raw: bytes::Bytes) -> Result<bytes::Bytes, Error> {
        let actual = Digest::of(&raw);
        match what.parse::<Digest>() {
            Ok(expected) if expected != actual => Err(Error::DigestMismatch {
                what: format!("manifest of {}", self.name.familiar()),
                expected: expected.to_string(),
                actual: actual.to_string(),
            }),
            _ => Ok(raw),
        }
    }

    /// The client library's form of the name.
    pub(super) fn oci_name(&self, what: &str) -> OciReference {
        let (registry, repository) = (self.name.registry().to_owned(), self.name.repository().to_owned());
        match what.parse::<Digest>() {
            Ok(digest) => OciReference::with_digest(registry, repository, digest.to_string()),
            Err(_) => OciReference::with_tag(registry, repository, what.to_owned()),
        }
    }

    /// Turns the client library's error into Docker's words.
    pub(super) fn error(&self, error: OciDistributionError) -> Error {
        let denied = |message: String| Error::AccessDenied { repository: self.name.familiar_name(), message };
        let message =
            |message: String| Error::Registry { registry: self.name.registry().to_owned(), message };
        match error {
            OciDistributionError::RegistryError { envelope, .. } => {
                let Some(first) = envelope.errors.into_iter().next() else {
                    return message("empty error".into());
                };
                match first.code {
                    OciErrorCode::ManifestUnknown | OciErrorCode::NotFound | OciErrorCode::TagInvalid => {
                        Error::ManifestUnknown { reference: self.name.familiar(), message: first.message }
                    }
                    OciErrorCode::Unauthorized | OciErrorCode::Denied => {
                        denied("requested access to the resource is denied".into())
                    }
                    OciErrorCode::NameUnknown => denied("repository name not known to registry".into()),
                    _ => message(first.message),
                }
            }
            OciDistributionError::ImageManifestNotFoundError(words) => {
                Error::ManifestUnknown { reference: self.name.familiar(), message: words }
            }
            OciDistributionError::ServerError { code: 404, message, .. } => {
                Error::ManifestUnknown { reference: self.name.familiar(), message }
            }
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => {
                denied("requested access to the resource is denied".into())
            }
            OciDistributionError::ServerError { code, message: words, .. } => {
                message(format!("status {code}: {words}"))
            }
            OciDistributionError::DigestError(error) => Error::DigestMismatch {
                what: format!("manifest of {}", self.name.familiar()),
                expected: "the stated one".into(),
                actual: error.to_string(),
            },
            other => message(causes(&other)),
        }
    }
}

/// An error with its causes: what is interesting about a refused connection is at the bottom.
fn causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

/// Whether a registry (`host[:port]`) may be asked without verified TLS.
#[must_use]
pub fn is_insecure(registry: &str, insecure: &[String]) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => registry,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>();
    if host == "localhost" || address.as_ref().is_ok_and(IpAddr::is_loopback) {
        return true;
    }
    insecure.iter().any(|entry| match (entry.split_once('/'), &address) {
        (Some((network, prefix)), Ok(IpAddr::V4(address))) => {
            let (Ok(network), Ok(prefix @ 0..=32)) = (network.parse::<Ipv4Addr>(), prefix.parse::<u32>())
            else {
                return false;
            };
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (Some(_), _) => false,
        (None, _) => entry == registry || entry == host,
    })
}

#[cfg(test)]
mod tests {
    use super::is_insecure;

    #[test]
    fn insecure_registries_are_named_or_loopback() {
        let list = ["r.example:5000".to_owned(), "10.1.0.0/16".to_owned(), "0.0.0.0/99".to_owned()];
        for good in
            ["localhost", "localhost:5000", "127.9.9.9:1", "[::1]:5000", "r.example:5000", "10.1.2.3:80"]
        {
            assert!(is_insecure(good, &list), "{good}");
        }
        for bad in ["docker.io", "r.example:5001", "10.2.0.1", "localhost.example"] {
            assert!(!is_insecure(bad, &list), "{bad}");
        }
    }
}
