//! Further layers and another configuration on top of an image make a new one: `commit`, and each step of a build.

use std::fmt;

use tokio::io::AsyncRead;

use crate::config::{History, RootFs};
use crate::index::Stored;
use crate::layers::chain_ids;
use crate::leases::{Item, Lease};
use crate::manifest::Descriptor;
use crate::store::blocking;
use crate::{
    ContainerConfig, Digest, Error, Image, ImageConfig, ImageStore, MAX_LAYERS, Origins, Platform,
    ProgressSender, Reference,
};

/// What to make of an image.
#[derive(Debug, Default)]
pub struct ExtendRequest {
    /// What it is put on; nothing for an image of its own.
    pub base: Option<Image>,
    /// Other images whose files are in the new layers: it comes from where they came from, too.
    pub sources: Vec<Image>,
    /// The new image's whole container configuration.
    pub config: ContainerConfig,
    /// Who makes it; empty leaves the base's.
    pub author: String,
    /// What for.
    pub comment: String,
    /// The platform; the base's when not given, or the host's.
    pub platform: Option<Platform>,
    /// What is added, lowest first.
    pub steps: Vec<Step>,
    /// The new image's names.
    pub names: Vec<Reference>,
}

/// One line of the image's history, which may come with a layer.
pub struct Step {
    /// The line; when it was, and whether it has a layer, is filled in.
    pub history: History,
    /// An OCI layer as tar, compressed or not.
    pub layer: Option<Box<dyn AsyncRead + Send + Unpin>>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = self.layer.is_some();
        f.debug_struct("Step").field("history", &self.history).field("layer", &layer).finish()
    }
}

impl ImageStore {
    /// Makes the image, with the names that others lost to it. A layer that ends early or is damaged leaves nothing: a
    /// reader that has failed must say so with an error, not with its end.
    pub async fn extend(&self, request: ExtendRequest) -> Result<(Image, Vec<(Reference, Digest)>), Error> {
        let lease = self.shared.leases.lease();
        let mut made = Vec::new();
        let result = self.extend_leased(request, &lease, &mut made).await;
        drop(lease);
        if result.is_err() {
            self.collect(made);
        }
        result
    }

    async fn extend_leased(
        &self,
        request: ExtendRequest,
        lease: &Lease,
        made: &mut Vec<Item>,
    ) -> Result<(Image, Vec<(Reference, Digest)>), Error> {
        let ExtendRequest { base, sources, config, author, comment, platform, steps, names } = request;
        let (mut document, mut layers) = match &base {
            None => (ImageConfig::default(), Vec::new()),
            Some(base) => {
                base.stored.items().for_each(|item| lease.hold(item));
                // It may have been removed before it was held.
                let base = self.get(base.id()).ok_or_else(|| Error::NoSuchImage(base.id().to_string()))?;
                self.lower_dirs(&base).await?;
                (base.config().clone(), base.stored.manifest.layers.clone())
            }
        };
        let origins = Origins::derived(base.iter().chain(&sources));
        let now = jiff::Timestamp::now().to_string();
        if let Some(platform) = platform.or_else(|| base.is_none().then(Platform::host)) {
            document.os = platform.os;
            document.architecture = platform.architecture;
            document.variant = platform.variant.unwrap_or_default();
        }
        document.rootfs = RootFs { kind: "layers".into(), diff_ids: document.rootfs.diff_ids };
        document.config = config;
        document.created.clone_from(&now);
        document.comment = comment;
        if !author.is_empty() {
            document.author = author;
        }
        for Step { mut history, layer } in steps {
            history.empty_layer = layer.is_none();
            if history.created.is_empty() {
                history.created.clone_from(&now);
            }
            document.history.push(history);
            if let Some(layer) = layer {
                if document.rootfs.diff_ids.len() >= MAX_LAYERS {
                    return Err(Error::document("image configuration", "max depth exceeded"));
                }
                let descriptor = self.add_layer(&mut document.rootfs.diff_ids, layer, lease, made).await?;
                layers.push(descriptor);
            }
        }
        let json =
            serde_json::to_vec(&document).map_err(|error| Error::document("image configuration", error))?;
        let stored: Stored = self.describe(json, layers)?;
        let _all = self.lease_all(&stored);
        self.commit(stored, names, origins).await
    }

    /// Stores and unpacks one on top of those that are there.
    async fn add_layer(
        &self,
        diff_ids: &mut Vec<Digest>,
        layer: Box<dyn AsyncRead + Send + Unpin>,
        lease: &Lease,
        made: &mut Vec<Item>,
    ) -> Result<Descriptor, Error> {
        let silent = ProgressSender::none();
        let (blob, size) = self.spool(layer, silent.clone()).await?;
        lease.hold(Item::Blob(blob.clone()));
        made.push(Item::Blob(blob.clone()));
        let staged = self.stage(lease, blob.clone(), None, blob.short(), silent, true).await?;
        let lower: Vec<_> =
            chain_ids(diff_ids).iter().rev().map(|layer| self.shared.layers.diff(layer)).collect();
        diff_ids.push(staged.diff_id.clone());
        let media_type = staged.compression.layer_media_type();
        let Some(id) = chain_ids(diff_ids).pop() else { return Err(Error::Aborted("adding a layer")) };
        let item = Item::Layer(id.clone());
        lease.hold(item.clone());
        made.push(item.clone());
        let _alone = self.shared.leases.exclusive(&item).await;
        let store = self.clone();
        blocking("publishing a layer", move || store.shared.layers.publish(staged, &id, &lower)).await?;
        Ok(Descriptor::new(media_type, blob, size))
    }
}
