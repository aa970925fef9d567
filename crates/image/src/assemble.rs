//! From blobs to unpacked layers.

use std::future::Future;

use futures_util::future::{try_join, try_join_all};

use crate::layers::{Staged, chain_ids};
use crate::leases::{Item, Lease};
use crate::progress::Throttle;
use crate::{Digest, Error, ImageStore, LayerStatus, ProgressSender};

impl ImageStore {
    /// Makes the unpacked layers of `diff_ids` that are missing. `fetch(n)` brings the nth blob, which then is
    /// unpacked without waiting for the others; layers get their names from the bottom up. A layer that is here already
    /// came perhaps as another blob: its own is fetched, too, because the image is saved and pushed as it came. Each layer is locked while
    /// it is made, always in this order, so that operations with common layers wait for each other without deadlock.
    pub(crate) async fn unpack_layers<F, Fut>(
        &self,
        lease: &Lease,
        diff_ids: &[Digest],
        blobs: &[(Digest, u64)],
        fetch: F,
        progress: &ProgressSender,
        loading: bool,
    ) -> Result<(), Error>
    where
        F: Fn(usize) -> Fut,
        Fut: Future<Output = Result<(), Error>>,
    {
        if diff_ids.len() != blobs.len() {
            let reason = format!("{} layers but {} diff IDs", blobs.len(), diff_ids.len());
            return Err(Error::document("image configuration", reason));
        }
        let chain = chain_ids(diff_ids);
        let name = |n: usize| if loading { diff_ids[n].short() } else { blobs[n].0.short() };
        let (mut missing, mut locks, mut absent) = (Vec::new(), Vec::new(), Vec::new());
        for (n, layer) in chain.iter().enumerate() {
            let item = Item::Layer(layer.clone());
            lease.hold(item.clone());
            lease.hold(Item::Blob(blobs[n].0.clone()));
            if !self.shared.layers.contains(layer) {
                let lock = self.shared.leases.exclusive(&item).await;
                if !self.shared.layers.contains(layer) {
                    missing.push(n);
                    locks.push(lock);
                    if !loading {
                        progress.layer(&name(n), LayerStatus::PullingFsLayer);
                    }
                    continue;
                }
            }
            if self.shared.blobs.size(&blobs[n].0).is_none() {
                absent.push(n);
                progress.layer(&name(n), LayerStatus::PullingFsLayer);
            } else if !loading {
                progress.layer(&name(n), LayerStatus::AlreadyExists);
            }
        }
        let stage = |n: usize| {
            let (fetched, id) = (fetch(n), name(n));
            let (digest, diff_id) = (blobs[n].0.clone(), diff_ids[n].clone());
            async move {
                fetched.await?;
                let _permit = self.shared.unpacks.acquire().await.map_err(|_closed| Error::Cancelled)?;
                self.stage(lease, digest, Some(diff_id), id, progress.clone(), loading).await
            }
        };
        let bring = async |n: usize| {
            fetch(n).await?;
            progress.layer(&name(n), LayerStatus::PullComplete);
            Ok(())
        };
        let staged = try_join_all(missing.iter().map(|&n| stage(n)));
        let (staged, _) = try_join(staged, try_join_all(absent.iter().map(|&n| bring(n)))).await?;
        for (&n, staged) in missing.iter().zip(staged) {
            let lower =
                chain[..n].iter().rev().map(|layer| self.shared.layers.diff(layer)).collect::<Vec<_>>();
            let (store, layer) = (self.clone(), chain[n].clone());
            let publish = move || store.shared.layers.publish(staged, &layer, &lower);
            lease.blocking("publishing a layer", publish).await?;
            if !loading {
                progress.layer(&name(n), LayerStatus::PullComplete);
            }
        }
        Ok(())
    }

    /// Unpacks one blob under a temporary name.
    pub(crate) async fn stage(
        &self,
        lease: &Lease,
        blob: Digest,
        expected: Option<Digest>,
        id: String,
        progress: ProgressSender,
        loading: bool,
    ) -> Result<Staged, Error> {
        let store = self.clone();
        let unpack = move || {
            let path = store.shared.blobs.path(&blob);
            let total = store.shared.blobs.size(&blob).unwrap_or_default();
            let mut throttle = Throttle::new();
            let reporter = progress.clone();
            let mut on_read = move |current| {
                if throttle.passes(current) || current == total {
                    let status = if loading { LayerStatus::Loading } else { LayerStatus::Extracting };
                    reporter.layer(&id, status(current, total));
                }
            };
            store.shared.layers.stage(&path, expected.as_ref(), &mut on_read, &|| progress.cancelled())
        };
        lease.blocking("unpacking a layer", unpack).await
    }
}
