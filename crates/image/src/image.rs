//! An image as callers see it.

use std::sync::Arc;

use crate::config::{ContainerConfig, History, ImageConfig};
use crate::index::Stored;
use crate::{Digest, Origins, Reference};

/// One image: a snapshot, cheap to clone.
#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) stored: Arc<Stored>,
    pub(crate) names: Vec<Reference>,
    pub(crate) origins: Origins,
    pub(crate) size: u64,
}

/// One line of `history`.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryLine {
    /// The image's ID for the newest line, else `None` (`<missing>`).
    pub id: Option<Digest>,
    /// Bytes that the step added.
    pub size: u64,
    /// The image's tags for the newest line.
    pub tags: Vec<String>,
    /// The step.
    pub step: History,
}

impl Image {
    /// The image ID: the digest of its configuration.
    #[must_use]
    pub fn id(&self) -> &Digest {
        &self.stored.id
    }

    /// The whole configuration.
    #[must_use]
    pub fn config(&self) -> &ImageConfig {
        &self.stored.config
    }

    /// What a container is made of by default.
    #[must_use]
    pub fn container_config(&self) -> &ContainerConfig {
        &self.stored.config.config
    }

    /// The manifest's digest.
    #[must_use]
    pub fn manifest_digest(&self) -> &Digest {
        &self.stored.manifest_digest
    }

    /// Bytes of its files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All names: tags and digests.
    #[must_use]
    pub fn names(&self) -> &[Reference] {
        &self.names
    }

    /// Where it came from, whatever it is called now.
    #[must_use]
    pub fn origins(&self) -> &Origins {
        &self.origins
    }

    /// `debian:latest`…
    #[must_use]
    pub fn repo_tags(&self) -> Vec<String> {
        self.names.iter().filter(|name| name.digest().is_none()).map(Reference::familiar).collect()
    }

    /// `debian@sha256:…`, for what came from a registry.
    #[must_use]
    pub fn repo_digests(&self) -> Vec<String> {
        self.names.iter().filter(|name| name.digest().is_some()).map(Reference::familiar).collect()
    }

    /// Whether it has no tag.
    #[must_use]
    pub fn is_dangling(&self) -> bool {
        self.names.iter().all(|name| name.tag().is_none())
    }

    /// Digests of the uncompressed layers, lowest first.
    #[must_use]
    pub fn diff_ids(&self) -> &[Digest] {
        &self.stored.config.rootfs.diff_ids
    }

    /// Directories in it that are kept apart from a container's writable layer.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.stored.config.config.volumes.keys().map(String::as_str)
    }
}
