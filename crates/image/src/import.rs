//! `import`: a root file system archive becomes an image of one layer.

use std::io::{self, Write};

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use crate::changes::apply_changes;
use crate::config::{History, ImageConfig, RootFs};
use crate::index::Stored;
use crate::layers::chain_ids;
use crate::leases::Item;
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG};
use crate::store::blocking;
use crate::{
    Digest, Error, Image, ImageStore, Origin, Origins, Platform, Progress, ProgressSender, Reference,
};

/// What to make of an imported archive.
#[derive(Clone, Debug, Default)]
pub struct ImportRequest {
    /// The new image's name.
    pub name: Option<Reference>,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// The history's comment.
    pub message: String,
    /// The image's platform; the host's when not given.
    pub platform: Option<Platform>,
}

impl ImageStore {
    /// Imports an archive, compressed or not.
    pub async fn import(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        request: ImportRequest,
        progress: &ProgressSender,
    ) -> Result<Image, Error> {
        let mut config = ImageConfig::default();
        apply_changes(&mut config.config, &request.changes)?;
        let lease = self.shared.leases.lease();
        let (blob, size) = self.spool(archive, progress.clone()).await?;
        lease.hold(Item::Blob(blob.clone()));
        let result = self.import_blob(&blob, size, config, request, progress).await;
        drop(lease);
        if result.is_err() {
            self.collect([Item::Blob(blob)]);
        }
        result
    }

    async fn import_blob(
        &self,
        blob: &Digest,
        size: u64,
        mut config: ImageConfig,
        request: ImportRequest,
        progress: &ProgressSender,
    ) -> Result<Image, Error> {
        let lease = self.shared.leases.lease();
        let staged = self.stage(&lease, blob.clone(), None, blob.short(), progress.clone(), true).await?;
        let platform = request.platform.unwrap_or_else(Platform::host);
        let message = if request.message.is_empty() { "Imported from -".to_owned() } else { request.message };
        config.created = jiff::Timestamp::now().to_string();
        config.os = platform.os;
        config.architecture = platform.architecture;
        config.variant = platform.variant.unwrap_or_default();
        config.comment.clone_from(&message);
        config.rootfs = RootFs { kind: "layers".into(), diff_ids: vec![staged.diff_id.clone()] };
        config.history =
            vec![History { created: config.created.clone(), comment: message, ..History::default() }];
        let media_type = staged.compression.layer_media_type();
        let chain = chain_ids(&config.rootfs.diff_ids);
        lease.hold(Item::Layer(chain[0].clone()));
        let (store, layer) = (self.clone(), chain[0].clone());
        blocking("publishing a layer", move || store.shared.layers.publish(staged, &layer, &[])).await?;
        let json =
            serde_json::to_vec(&config).map_err(|error| Error::document("image configuration", error))?;
        let layers = vec![Descriptor::new(media_type, blob.clone(), size)];
        let stored = self.describe(json, layers)?;
        let _all = self.lease_all(&stored);
        let (image, _) =
            self.commit(stored, request.name.into_iter().collect(), Origins::of(Origin::Imported)).await?;
        progress.send(Progress::Imported(image.id().clone()));
        Ok(image)
    }

    /// Writes the configuration and a manifest of our own for it.
    pub(crate) fn describe(&self, config: Vec<u8>, layers: Vec<Descriptor>) -> Result<Stored, Error> {
        let id = self.shared.blobs.write(&config)?;
        let manifest = Manifest::new(Descriptor::new(OCI_CONFIG, id, config.len() as u64), layers);
        let json = serde_json::to_vec(&manifest).map_err(|error| Error::document("manifest", error))?;
        let digest = self.shared.blobs.write(&json)?;
        Stored::read(&self.shared.blobs, &digest)
    }

    /// Stores a stream as a blob.
    pub(crate) async fn spool(
        &self,
        stream: impl AsyncRead + Send + Unpin + 'static,
        progress: ProgressSender,
    ) -> Result<(Digest, u64), Error> {
        let (store, mut stream) = (self.clone(), SyncIoBridge::new(stream));
        blocking("receiving an archive", move || {
            let mut writer = store.shared.blobs.writer()?;
            let mut buffer = vec![0; 256 << 10];
            loop {
                if progress.cancelled() {
                    return Err(Error::Cancelled);
                }
                let n = match io::Read::read(&mut stream, &mut buffer) {
                    Ok(0) => break,
                    Ok(n) => n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(Error::Stream(error)),
                };
                writer.write_all(&buffer[..n]).map_err(|error| Error::io(&store.shared.root, error))?;
            }
            writer.commit()
        })
        .await
    }
}
