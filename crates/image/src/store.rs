//! The store itself: opening, looking up, naming.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::blobs::Blobs;
use crate::durable::Durable;
use crate::error::IoContext;
use crate::image::HistoryLine;
use crate::index::{Catalog, Stored};
use crate::layers::Layers;
use crate::leases::{Item, Lease, Leases, lock};
use crate::{Digest, Error, Image, Origin, Origins, ProgressSender, Reference};

/// How many layers are fetched at the same time, over all pulls (Docker's default).
const DOWNLOADS: usize = 3;

/// All images of one daemon. Clones share it.
#[derive(Clone, Debug)]
pub struct ImageStore {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub root: PathBuf,
    pub temporary: PathBuf,
    pub blobs: Blobs,
    pub layers: Layers,
    pub leases: Arc<Leases>,
    pub durable: Durable,
    pub downloads: Semaphore,
    pub unpacks: Semaphore,
    catalog: Mutex<Catalog>,
    /// Held while the index is being replaced; readers never wait for the disk.
    writer: tokio::sync::Mutex<()>,
    sizes: Mutex<HashMap<Digest, u64>>,
}

/// What the store takes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes of the unpacked layers' files, each layer once.
    pub layers: u64,
}

impl ImageStore {
    /// Opens the store below `root`, makes it when it is not there, and removes what a crash left unfinished.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let temporary = root.join("tmp");
        // Layers hold set-user-ID programs and other people's files: nobody but root walks in here.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).at(root)?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700)).at(root)?;
        if temporary.exists() {
            fs::remove_dir_all(&temporary).at(&temporary)?;
        }
        for name in ["tmp", "erofs", "empty", "empty-below"] {
            fs::create_dir_all(root.join(name)).at(root)?;
        }
        let layout = root.join("oci-layout");
        fs::write(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#).at(&layout)?;
        let blobs = Blobs::open(root, &temporary)?;
        let layers = Layers::open(root, &temporary)?;
        let durable = Durable::open(root);
        let catalog = Catalog::load(root, &blobs, &durable)?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let shared = Shared {
            root: root.to_owned(),
            temporary,
            blobs,
            layers,
            leases: Arc::default(),
            durable,
            downloads: Semaphore::new(DOWNLOADS),
            unpacks: Semaphore::new(cores.clamp(1, 4)),
            catalog: Mutex::new(catalog),
            writer: tokio::sync::Mutex::new(()),
            sizes: Mutex::default(),
        };
        let store = Self { shared: Arc::new(shared) };
        let everything = store.everything();
        store.collect(everything);
        // Layers that a crash of the machine may have damaged are unpacked again when they are needed.
        let doubtful = store.everything().into_iter().filter(|item| !matches!(item, Item::Blob(_)));
        let doubtful: Vec<_> = doubtful.filter(|item| store.shared.durable.is_doubtful(item)).collect();
        store.bury(doubtful, |_| false);
        store.shared.durable.begin(store.everything().into_iter())?;
        Ok(store)
    }

    /// Every image, newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Image> {
        let catalog = self.catalog();
        let mut images: Vec<Image> =
            catalog.images.values().map(|stored| self.image(&catalog, stored)).collect();
        images.sort_by(|a, b| {
            b.config().created_at().cmp(&a.config().created_at()).then_with(|| a.id().cmp(b.id()))
        });
        images
    }

    /// The image with this ID.
    #[must_use]
    pub fn get(&self, id: &Digest) -> Option<Image> {
        let catalog = self.catalog();
        catalog.images.get(id).map(|stored| self.image(&catalog, stored))
    }

    /// Finds an image by name (its case does not matter), by digest, by ID or by a beginning of its ID.
    pub fn resolve(&self, text: &str) -> Result<Image, Error> {
        let catalog = self.catalog();
        let (id, _) = find(&catalog, text)?;
        let stored = catalog.images.get(&id).ok_or_else(|| Error::NoSuchImage(text.to_owned()))?;
        Ok(self.image(&catalog, stored))
    }

    /// The image that has exactly this name.
    #[must_use]
    pub fn by_name(&self, name: &Reference) -> Option<Image> {
        let catalog = self.catalog();
        catalog
            .names
            .get(name)
            .and_then(|id| catalog.images.get(id))
            .map(|stored| self.image(&catalog, stored))
    }

    /// How an image was made, newest step first.
    #[must_use]
    pub fn history(&self, image: &Image) -> Vec<HistoryLine> {
        let mut layers = image.stored.chain.iter();
        let mut lines = Vec::new();
        for step in &image.config().history {
            let layer = if step.empty_layer { None } else { layers.next() };
            let size = layer.map_or(0, |layer| self.layer_size(layer));
            lines.push(HistoryLine { id: None, size, tags: Vec::new(), step: step.clone() });
        }
        lines.reverse();
        if let Some(newest) = lines.first_mut() {
            newest.id = Some(image.id().clone());
            newest.tags = image.repo_tags();
        }
        lines
    }

    /// Gives an image a name, taking it from another image if need be.
    pub async fn tag(&self, image: &Image, name: &Reference) -> Result<(), Error> {
        if name.digest().is_some() {
            return Err(Error::InvalidReference(crate::InvalidReference::Format));
        }
        let (id, name) = (image.id().clone(), name.clone());
        self.change(move |catalog| {
            if !catalog.images.contains_key(&id) {
                return Err(Error::NoSuchImage(id.to_string()));
            }
            catalog.names.insert(name, id);
            Ok(())
        })
        .await
    }

    /// What the store takes on disk.
    #[must_use]
    pub fn disk_usage(&self) -> DiskUsage {
        let catalog = self.catalog();
        let chain: HashSet<&Digest> = catalog.images.values().flat_map(|stored| &stored.chain).collect();
        DiskUsage { layers: chain.into_iter().map(|layer| self.layer_size(layer)).sum() }
    }

    /// The directories of an image's layers, topmost first, for an overlay; never empty. A layer that is missing
    /// is unpacked again.
    pub async fn lower_dirs(&self, image: &Image) -> Result<Vec<PathBuf>, Error> {
        self.ensure_unpacked(image).await?;
        let mut lower: Vec<_> =
            image.stored.chain.iter().rev().map(|layer| self.shared.layers.diff(layer)).collect();
        if lower.is_empty() {
            lower.push(self.shared.root.join("empty"));
        }
        Ok(lower)
    }

    async fn ensure_unpacked(&self, image: &Image) -> Result<(), Error> {
        if image.stored.chain.iter().all(|layer| self.shared.layers.contains(layer)) {
            return Ok(());
        }
        let lease = self.shared.leases.lease();
        let blobs: Vec<_> =
            image.stored.manifest.layers.iter().map(|layer| (layer.digest.clone(), layer.size)).collect();
        let here = |_| std::future::ready(Ok(()));
        self.unpack_layers(&lease, image.diff_ids(), &blobs, here, &ProgressSender::none(), false).await
    }

    /// A snapshot of the catalog.
    pub(crate) fn catalog(&self) -> Catalog {
        lock(&self.shared.catalog).clone()
    }

    pub(crate) fn image(&self, catalog: &Catalog, stored: &Arc<Stored>) -> Image {
        let size = stored.chain.iter().map(|layer| self.layer_size(layer)).sum();
        let origins = catalog.origins_of(&stored.id);
        Image { stored: Arc::clone(stored), names: catalog.names_of(&stored.id), origins, size }
    }

    pub(crate) fn layer_size(&self, chain_id: &Digest) -> u64 {
        if let Some(size) = lock(&self.shared.sizes).get(chain_id) {
            return *size;
        }
        // A layer that is missing or damaged is unpacked again when it is needed; until then it counts nothing.
        let Ok(info) = self.shared.layers.info(chain_id) else { return 0 };
        lock(&self.shared.sizes).insert(chain_id.clone(), info.size);
        info.size
    }

    /// Changes the catalog: on disk first, then for everybody.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        apply: impl FnOnce(&mut Catalog) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        // A task of its own: a caller that goes away must not leave memory and disk apart.
        let task = tokio::spawn(async move {
            let _writing = store.shared.writer.lock().await;
            let mut catalog = store.catalog();
            let result = apply(&mut catalog)?;
            let store = store.clone();
            blocking("saving the index", move || {
                catalog.save(&store.shared.root)?;
                *lock(&store.shared.catalog) = catalog;
                Ok(result)
            })
            .await
        });
        task.await.map_err(|_panicked| Error::Aborted("changing the index"))?
    }

    /// Adds an image with its names and the places that it came from. Returns the names that other images lost.
    ///
    /// An image that is here already keeps its origins: the same content from an archive is as good or as bad as before.
    /// Only another registry is one origin more.
    pub(crate) async fn commit(
        &self,
        stored: Stored,
        names: Vec<Reference>,
        origins: Origins,
    ) -> Result<(Image, Vec<(Reference, Digest)>), Error> {
        let id = stored.id.clone();
        let lost = self
            .change(move |catalog| {
                let id = stored.id.clone();
                if catalog.images.contains_key(&id) {
                    let known = catalog.origins.entry(id.clone()).or_insert(Origins::of(Origin::Unknown));
                    if origins.iter().any(|origin| matches!(origin, Origin::Pulled(_))) {
                        known.add(&origins);
                    }
                } else {
                    catalog.images.insert(id.clone(), Arc::new(stored));
                    catalog.origins.insert(id.clone(), origins);
                }
                let mut lost = Vec::new();
                for name in names {
                    if let Some(old) = catalog.names.insert(name.clone(), id.clone())
                        && old != id
                    {
                        lost.push((name, old));
                    }
                }
                Ok(lost)
            })
            .await?;
        let store = self.clone();
        // Nobody waits for the disk.
        tokio::task::spawn_blocking(move || {
            let items: Vec<_> = store
                .catalog()
                .images
                .values()
                .flat_map(|stored| stored.items().collect::<Vec<_>>())
                .collect();
            if let Err(error) = store.shared.durable.sync(items.into_iter()) {
                tracing::warn!(%error, "cannot bring images to disk");
            }
        });
        let image = self.get(&id).ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
        Ok((image, lost))
    }

    /// A lease on everything that makes up an image.
    pub(crate) fn lease_all(&self, stored: &Stored) -> Lease {
        let lease = self.shared.leases.lease();
        stored.items().for_each(|item| lease.hold(item));
        lease
    }

    fn everything(&self) -> Vec<Item> {
        let blobs = self.shared.blobs.list().into_iter().map(Item::Blob);
        let layers = self.shared.layers.list().into_iter().map(Item::Layer);
        let erofs = self.erofs_list().into_iter().map(Item::Erofs);
        blobs.chain(layers).chain(erofs).collect()
    }

    /// Removes those of `candidates` that no image and no operation needs. Returns the chain IDs of removed layers.
    pub(crate) fn collect(&self, candidates: impl IntoIterator<Item = Item>) -> Vec<(Digest, u64)> {
        self.bury(candidates, |item| {
            let catalog = lock(&self.shared.catalog);
            catalog.images.values().any(|stored| stored.items().any(|needed| needed == *item))
        })
    }

    /// Removes what is not held and not `needed`. That is asked only once it is certain that nobody holds the item: an
    /// operation adds its image to the catalog before it lets go, so an answer from earlier may be out of date.
    fn bury(
        &self,
        candidates: impl IntoIterator<Item = Item>,
        needed: impl Fn(&Item) -> bool,
    ) -> Vec<(Digest, u64)> {
        let mut removed = Vec::new();
        for item in candidates.into_iter().filter(|item| !needed(item)) {
            let path = match &item {
                Item::Blob(digest) => self.shared.blobs.path(digest),
                Item::Layer(chain_id) => self.shared.layers.path(chain_id),
                Item::Erofs(id) => self.erofs_path(id),
            };
            let size = if let Item::Layer(chain_id) = &item { self.layer_size(chain_id) } else { 0 };
            // Renamed at once, so that it is either there or not; what takes long comes after.
            let grave = tempfile::Builder::new().prefix("removed-").tempdir_in(&self.shared.temporary);
            let Ok(grave) = grave else { continue };
            let mut gone = false;
            self.shared.leases.unless_held(&item, || {
                gone = !needed(&item) && fs::rename(&path, grave.path().join("item")).is_ok();
            });
            if let (true, Item::Layer(chain_id)) = (gone, item) {
                lock(&self.shared.sizes).remove(&chain_id);
                removed.push((chain_id, size));
            }
        }
        removed
    }
}

/// Finds an image's ID by what a user wrote; and the name, when it was one.
pub(crate) fn find(catalog: &Catalog, text: &str) -> Result<(Digest, Option<Reference>), Error> {
    if let Ok(id) = text.parse::<Digest>()
        && catalog.images.contains_key(&id)
    {
        return Ok((id, None));
    }
    if let Ok(id) = format!("sha256:{text}").parse::<Digest>() {
        return match catalog.images.contains_key(&id) {
            true => Ok((id, None)),
            false => Err(Error::NoSuchImage(text.to_owned())),
        };
    }
    let name = Reference::parse_any_case(text);
    if let Ok(name) = &name {
        if let Some(id) = catalog.names.get(name) {
            return Ok((id.clone(), Some(name.clone())));
        }
        // `name:tag@digest`: the digest decides.
        if let Some(digest) = name.digest() {
            let pinned = name.with_digest(digest.clone());
            if let Some(id) = catalog.names.get(&pinned) {
                return Ok((id.clone(), Some(pinned)));
            }
        }
    }
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if !digits.is_empty()
        && digits.len() < 64
        && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        let mut matching = catalog.images.keys().filter(|id| id.hex().starts_with(digits));
        match (matching.next(), matching.next()) {
            (Some(id), None) => return Ok((id.clone(), None)),
            (Some(_), Some(_)) => return Err(Error::AmbiguousId(text.to_owned())),
            _ => {}
        }
    }
    Err(Error::NoSuchImage(name?.familiar()))
}

/// Runs blocking work on the pool for it.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_panicked| Error::Aborted(what))?
}
