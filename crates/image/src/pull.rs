//! `pull`: images from a registry.

mod blob;
mod registry;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;

use crate::config::ImageConfig;
use crate::index::Stored;
use crate::leases::{Item, Lease};
use crate::manifest::{
    DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Document, MAX_DOCUMENT, Manifest, OCI_INDEX, OCI_MANIFEST,
};
use crate::{
    Digest, Error, Image, ImageStore, Origin, Origins, Platform, Progress, ProgressSender, Reference,
};

use registry::Registry;
pub use registry::is_insecure;

/// How to present oneself to a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    #[default]
    Anonymous,
    /// By name and password.
    Password {
        /// The user.
        username: String,
        /// The password or access token.
        password: String,
    },
    /// By a bearer token.
    Token(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Password { .. } => "Password(…)",
            Self::Token(_) => "Token(…)",
        })
    }
}

impl From<&Credentials> for RegistryAuth {
    fn from(credentials: &Credentials) -> Self {
        match credentials {
            Credentials::Anonymous => Self::Anonymous,
            Credentials::Password { username, password } => Self::Basic(username.clone(), password.clone()),
            Credentials::Token(token) => Self::Bearer(token.clone()),
        }
    }
}

/// What to pull.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// The image.
    pub reference: Reference,
    /// The platform; the host's when not given.
    pub platform: Option<Platform>,
    /// How to present oneself.
    pub credentials: Credentials,
    /// Registries that may be asked without verified TLS: `host[:port]` or IPv4 networks, `10.0.0.0/8`. Loopback
    /// addresses always may.
    pub insecure_registries: Vec<String>,
}

impl PullRequest {
    /// An anonymous pull for this host.
    #[must_use]
    pub fn new(reference: Reference) -> Self {
        Self {
            reference,
            platform: None,
            credentials: Credentials::Anonymous,
            insecure_registries: Vec::new(),
        }
    }
}

/// A manifest that was chosen, with everything that led to it.
struct Chosen {
    /// What the name stands for: the manifest's digest, or that of the index that it was chosen from.
    named: Digest,
    manifest_digest: Digest,
    manifest: Manifest,
    raw: bytes::Bytes,
}

impl ImageStore {
    /// Pulls an image. Digests and sizes of everything are verified before they are used.
    pub async fn pull(&self, request: PullRequest, progress: &ProgressSender) -> Result<Image, Error> {
        let name = &request.reference;
        let what = name.digest().map_or_else(|| name.tag().unwrap_or_default().to_owned(), Digest::to_string);
        let (registry, chosen) = Registry::connect(&request, &what).await?;
        let repository = name.familiar_name();
        let repository =
            if name.registry() == "docker.io" { name.repository().to_owned() } else { repository };
        let repository =
            repository.strip_prefix(&format!("{}/", name.registry())).unwrap_or(&repository).to_owned();
        progress.send(Progress::PullingFrom { repository, tag: what });
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        let chosen = choose(&registry, chosen, &platform).await?;
        let pinned = name.with_digest(chosen.named.clone());
        let mut names = vec![pinned];
        if name.digest().is_none() {
            names.push(name.clone());
        }
        let before = self.by_name(&names[names.len() - 1]).map(|image| image.id().clone());
        let lease = self.shared.leases.lease();
        let image = self
            .fetch(&registry, &chosen, names, Origins::of(Origin::Pulled(name.clone())), &lease, progress)
            .await;
        if image.is_err() {
            lease.settled().await;
        }
        drop(lease);
        let image = match image {
            Ok(image) => image,
            Err(error) => {
                // What came through completely is of no use without the rest.
                let parts = chosen.manifest.layers.iter().chain([&chosen.manifest.config]);
                let parts = parts.map(|part| part.digest.clone()).chain([chosen.manifest_digest]);
                self.collect(parts.map(Item::Blob));
                return Err(error);
            }
        };
        progress.send(Progress::Digest(chosen.named));
        progress.send(match before.as_ref() == Some(image.id()) {
            true => Progress::UpToDate(name.familiar()),
            false => Progress::Downloaded(name.familiar()),
        });
        Ok(image)
    }

    async fn fetch(
        &self,
        registry: &Registry,
        chosen: &Chosen,
        names: Vec<Reference>,
        origins: Origins,
        lease: &Lease,
        progress: &ProgressSender,
    ) -> Result<Image, Error> {
        let manifest = &chosen.manifest;
        let quiet = ProgressSender::none();
        if manifest.config.size > MAX_DOCUMENT {
            return Err(Error::document("image configuration", "too large"));
        }
        for digest in [&manifest.config.digest, &chosen.manifest_digest] {
            lease.hold(Item::Blob(digest.clone()));
        }
        self.fetch_blob(registry, lease, &manifest.config, "image configuration", &quiet).await?;
        let config = ImageConfig::parse(&self.shared.blobs.read(&manifest.config.digest)?)?;
        let blobs: Vec<_> = manifest.layers.iter().map(|layer| (layer.digest.clone(), layer.size)).collect();
        let fetch =
            |n: usize| self.fetch_blob(registry, lease, &manifest.layers[n], "filesystem layer", progress);
        self.unpack_layers(lease, &config.rootfs.diff_ids, &blobs, fetch, progress, false).await?;
        self.shared.blobs.write(&chosen.raw)?;
        let stored = Stored::read(&self.shared.blobs, &chosen.manifest_digest)?;
        let _all = self.lease_all(&stored);
        let (image, _) = self.commit(stored, names, origins).await?;
        Ok(image)
    }
}

/// Follows an index to the platform's manifest.
async fn choose(registry: &Registry, raw: bytes::Bytes, platform: &Platform) -> Result<Chosen, Error> {
    let named = Digest::of(&raw);
    match Document::parse(&raw)? {
        Document::Manifest(manifest) => Ok(Chosen { manifest_digest: named.clone(), named, manifest, raw }),
        Document::Index(index) => {
            let missing = || Error::NoPlatform { platform: platform.to_string() };
            let entry: &Descriptor =
                index.select(platform).filter(|entry| !entry.is_index()).ok_or_else(missing)?;
            let raw = registry.manifest(&entry.digest.to_string()).await?;
            if raw.len() as u64 != entry.size {
                let (what, actual) = (format!("manifest {}", entry.digest), raw.len() as u64);
                return Err(Error::SizeMismatch { what, expected: entry.size, actual });
            }
            match Document::parse(&raw)? {
                Document::Manifest(manifest) => {
                    Ok(Chosen { named, manifest_digest: entry.digest.clone(), manifest, raw })
                }
                Document::Index(_) => Err(missing()),
            }
        }
    }
}

/// The media types that we understand.
const ACCEPTED: [&str; 4] = [OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST];

/// A client's settings: TLS verified, or not, or plain HTTP.
fn client_config(protocol: ClientProtocol, accept_invalid_certificates: bool) -> ClientConfig {
    ClientConfig {
        protocol,
        accept_invalid_certificates,
        connect_timeout: Some(std::time::Duration::from_secs(15)),
        read_timeout: Some(std::time::Duration::from_secs(60)),
        user_agent: concat!("cofferdam/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    }
}
