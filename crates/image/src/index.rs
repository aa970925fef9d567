//! Which images there are: `index.json`, an OCI index that is replaced as a whole.
//!
//! Each name of an image is one descriptor with the name in the annotation `org.opencontainers.image.ref.name`; an
//! image without a name is one descriptor without annotation.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use tempfile::NamedTempFile;

use crate::blobs::Blobs;
use crate::config::ImageConfig;
use crate::durable::{Durable, verifies};
use crate::error::IoContext;
use crate::layers::chain_ids;
use crate::leases::Item;
use crate::manifest::{Descriptor, Document, Index, Manifest, OCI_INDEX};
use crate::{Digest, Error, Origin, Origins, Reference};

pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Ours, in our own index only: what an archive says about its origin is worth nothing.
const ORIGINS: &str = "cofferdam.origins";

/// An image as it is stored.
#[derive(Debug, PartialEq)]
pub(crate) struct Stored {
    pub id: Digest,
    pub config: ImageConfig,
    pub manifest_digest: Digest,
    pub manifest: Manifest,
    pub chain: Vec<Digest>,
}

impl Stored {
    /// Reads an image by its manifest.
    pub(crate) fn read(blobs: &Blobs, manifest_digest: &Digest) -> Result<Self, Error> {
        let Document::Manifest(manifest) = Document::parse(&blobs.read(manifest_digest)?)? else {
            return Err(Error::document(
                manifest_digest.to_string(),
                "an index where a manifest is expected",
            ));
        };
        let config = ImageConfig::parse(&blobs.read(&manifest.config.digest)?)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(Error::document(
                format!("image {}", manifest.config.digest),
                format!("{} layers but {} diff IDs", manifest.layers.len(), config.rootfs.diff_ids.len()),
            ));
        }
        Ok(Self {
            id: manifest.config.digest.clone(),
            chain: chain_ids(&config.rootfs.diff_ids),
            config,
            manifest_digest: manifest_digest.clone(),
            manifest,
        })
    }

    /// Verifies the blobs that a crash of the machine may have damaged. One that is not there is no fault of the
    /// image's: it runs, though it cannot be saved.
    fn verify(self, blobs: &Blobs, durable: &Durable) -> Result<Self, Error> {
        for item in self.items() {
            if let Item::Blob(digest) = &item
                && durable.is_doubtful(&item)
                && blobs.size(digest).is_some()
                && !verifies(&blobs.path(digest), digest)
            {
                return Err(Error::document(digest.to_string(), "damaged by a crash"));
            }
        }
        Ok(self)
    }

    /// Everything in the store that belongs to it.
    pub(crate) fn items(&self) -> impl Iterator<Item = Item> + '_ {
        let blobs = self.manifest.layers.iter().map(|layer| &layer.digest);
        let blobs = blobs.chain([&self.id, &self.manifest_digest]).cloned().map(Item::Blob);
        blobs.chain(self.chain.iter().cloned().map(Item::Layer)).chain([Item::Erofs(self.id.clone())])
    }
}

/// All images and names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub images: HashMap<Digest, Arc<Stored>>,
    pub names: BTreeMap<Reference, Digest>,
    pub origins: HashMap<Digest, Origins>,
}

impl Catalog {
    /// Reads `index.json`, which a new layout gets here (OCI image-spec: it must exist). An image whose documents are damaged is left out with a warning: the others still work.
    pub(crate) fn load(root: &Path, blobs: &Blobs, durable: &Durable) -> Result<Self, Error> {
        let path = root.join("index.json");
        let data = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let empty = Self::default();
                empty.save(root)?;
                return Ok(empty);
            }
            data => data.at(&path)?,
        };
        let index: Index = serde_json::from_slice(&data)
            .map_err(|error| Error::document(path.display().to_string(), error))?;
        let mut catalog = Self::default();
        for entry in index.manifests {
            let stored =
                match Stored::read(blobs, &entry.digest).and_then(|stored| stored.verify(blobs, durable)) {
                    Ok(stored) => stored,
                    Err(error) => {
                        tracing::warn!(manifest = %entry.digest, %error, "leaving a damaged image out");
                        continue;
                    }
                };
            let name = entry.annotations.as_ref().and_then(|annotations| annotations.get(REF_NAME));
            if let Some(name) = name.and_then(|name| name.parse().ok()) {
                catalog.names.insert(name, stored.id.clone());
            }
            let origins = entry.annotations.as_ref().and_then(|annotations| annotations.get(ORIGINS));
            let origins = Origins::from_text(origins.map_or("", String::as_str));
            match catalog.origins.get_mut(&stored.id) {
                Some(known) => known.add(&origins),
                None => drop(catalog.origins.insert(stored.id.clone(), origins)),
            }
            catalog.images.entry(stored.id.clone()).or_insert_with(|| Arc::new(stored));
        }
        Ok(catalog)
    }

    /// Replaces `index.json`. File systems write a file's data before a rename that replaces another by it.
    pub(crate) fn save(&self, root: &Path) -> Result<(), Error> {
        let path = root.join("index.json");
        let mut named: HashMap<&Digest, Vec<&Reference>> = HashMap::new();
        for (name, id) in &self.names {
            named.entry(id).or_default().push(name);
        }
        let mut ids: Vec<_> = self.images.keys().collect();
        ids.sort();
        let mut manifests = Vec::new();
        for id in ids {
            let stored = &self.images[id];
            let media_type = stored.manifest.media_type();
            let size =
                fs::metadata(root.join("blobs/sha256").join(stored.manifest_digest.hex())).at(&path)?.len();
            let mut plain = Descriptor::new(media_type, stored.manifest_digest.clone(), size);
            let origins = (ORIGINS.to_owned(), self.origins_of(id).to_text());
            plain.annotations = Some(BTreeMap::from([origins.clone()]));
            match named.get(id) {
                None => manifests.push(plain),
                Some(names) => manifests.extend(names.iter().map(|name| Descriptor {
                    annotations: Some(BTreeMap::from([
                        (REF_NAME.to_owned(), name.to_string()),
                        origins.clone(),
                    ])),
                    ..plain.clone()
                })),
            }
        }
        let index = Index { schema_version: 2, media_type: OCI_INDEX.to_owned(), manifests };
        let json = serde_json::to_vec_pretty(&index).map_err(|error| Error::document("index.json", error))?;
        let mut file = NamedTempFile::new_in(root.join("tmp")).at(root)?;
        file.write_all(&json).at(&path)?;
        file.persist(&path).map_err(|error| Error::io(&path, error.error))?;
        Ok(())
    }

    /// Where an image came from.
    pub(crate) fn origins_of(&self, id: &Digest) -> Origins {
        self.origins.get(id).cloned().unwrap_or_else(|| Origins::of(Origin::Unknown))
    }

    /// The names of an image.
    pub(crate) fn names_of(&self, id: &Digest) -> Vec<Reference> {
        self.names.iter().filter(|(_, named)| *named == id).map(|(name, _)| name.clone()).collect()
    }
}
