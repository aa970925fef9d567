//! `save`: images as one archive that is both what `docker save` writes and an OCI image layout.
//!
//! Blobs go into it as they are in the store, so nothing is compressed again, and the same images give the same bytes:
//! entries have a fixed order, owner, mode and time. Its length is known before its first byte is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use serde::Serialize;
use tar::{EntryType, Header};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use crate::index::{Catalog, REF_NAME, Stored};
use crate::leases::{Item, Lease};
use crate::load::CONTAINERD_NAME;
use crate::manifest::{Descriptor, Index, OCI_INDEX, Platform};
use crate::store::find;
use crate::{Digest, Error, ImageStore, Reference};

/// How much of a blob is read at once.
const CHUNK: usize = 256 << 10;
/// What tar archives are made of.
const BLOCK: u64 = 512;
/// A tar archive ends with so many zeroes.
const TRAILER: u64 = 2 * BLOCK;

/// An archive about to be sent. What it needs stays in the store meanwhile.
pub struct SavedImages {
    pieces: Vec<Piece>,
    images: Vec<Digest>,
    lease: Lease,
}

/// A part of the archive.
enum Piece {
    Memory(Vec<u8>),
    /// A blob, its size, and the zeroes behind it.
    Blob(PathBuf, u64),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Memory(data) => data.len() as u64,
            Self::Blob(_, size) => size.next_multiple_of(BLOCK),
        }
    }
}

/// An image with the names under which it is saved.
struct Wanted {
    stored: Arc<Stored>,
    tags: BTreeSet<Reference>,
}

/// One image of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl ImageStore {
    /// Makes an archive of the named images. A repository's name without a tag means all its tags; an ID or a digest
    /// means the image without any name. With a platform an image of another one is refused.
    pub fn save(&self, names: &[String], platform: Option<&Platform>) -> Result<SavedImages, Error> {
        let wanted = select(&self.catalog(), names)?;
        let lease = self.shared.leases.lease();
        let mut blobs = BTreeMap::new();
        for Wanted { stored, .. } in &wanted {
            let own = Platform::of(&stored.config);
            if let Some(platform) = platform.filter(|platform| !own.serves(platform)) {
                return Err(Error::OtherPlatform {
                    image: stored.id.to_string(),
                    platform: platform.to_string(),
                });
            }
            for item in stored.items() {
                lease.hold(item.clone());
                let Item::Blob(digest) = item else { continue };
                let size = self.shared.blobs.size(&digest);
                blobs.insert(digest.clone(), size.ok_or(Error::NoBlob(digest))?);
            }
        }
        let mut pieces = Vec::new();
        directory(&mut pieces, "blobs/")?;
        directory(&mut pieces, "blobs/sha256/")?;
        for (digest, size) in &blobs {
            pieces.push(header(&blob_name(digest), EntryType::Regular, *size)?);
            pieces.push(Piece::Blob(self.shared.blobs.path(digest), *size));
        }
        document(&mut pieces, "index.json", &index(&wanted, &blobs))?;
        document(&mut pieces, "manifest.json", &wanted.iter().map(listed).collect::<Vec<_>>())?;
        document(&mut pieces, "oci-layout", &serde_json::json!({ "imageLayoutVersion": "1.0.0" }))?;
        pieces.push(Piece::Memory(vec![0; usize::try_from(TRAILER).unwrap_or_default()]));
        Ok(SavedImages {
            pieces,
            images: wanted.into_iter().map(|wanted| wanted.stored.id.clone()).collect(),
            lease,
        })
    }
}

impl SavedImages {
    /// How long the archive is.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.pieces.iter().map(Piece::length).sum()
    }

    /// The images in it.
    #[must_use]
    pub fn images(&self) -> &[Digest] {
        &self.images
    }

    /// The archive. An error in it means that half of it must not be taken for all.
    pub fn into_stream(self) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
        let Self { pieces, lease, .. } = self;
        let pieces = futures_util::stream::iter(pieces).then(async |piece| match piece {
            Piece::Memory(data) => {
                Ok::<_, std::io::Error>(futures_util::stream::once(async { Ok(Bytes::from(data)) }).boxed())
            }
            Piece::Blob(path, size) => {
                let file = tokio::fs::File::open(path).await?.take(size);
                let padding = size.next_multiple_of(BLOCK) - size;
                let zeroes = tokio::io::repeat(0).take(padding);
                Ok(ReaderStream::with_capacity(file.chain(zeroes), CHUNK).boxed())
            }
        });
        pieces.try_flatten().inspect(move |_| {
            // The stream owns the lease.
            let _ = &lease;
        })
    }
}

/// What the names stand for, each image once, in the order in which they were first named.
fn select(catalog: &Catalog, names: &[String]) -> Result<Vec<Wanted>, Error> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut add = |id: &Digest, tag: Option<Reference>| {
        let at = match wanted.iter().position(|known| known.stored.id == *id) {
            Some(at) => at,
            None => {
                let stored = catalog.images.get(id).ok_or_else(|| Error::NoSuchImage(id.to_string()))?;
                wanted.push(Wanted { stored: Arc::clone(stored), tags: BTreeSet::new() });
                wanted.len() - 1
            }
        };
        wanted[at].tags.extend(tag);
        Ok::<_, Error>(())
    };
    for text in names {
        let repository = Reference::parse_any_case(text).ok().filter(|_| Reference::is_name_only(text));
        let mut any = false;
        if let Some(repository) = repository {
            for (name, id) in &catalog.names {
                if name.tag().is_some() && name.digest().is_none() && name.same_repository(&repository) {
                    add(id, Some(name.clone()))?;
                    any = true;
                }
            }
        }
        if !any {
            let (id, name) = find(catalog, text)?;
            add(&id, name.filter(|name| name.digest().is_none()))?;
        }
    }
    Ok(wanted)
}

fn index(wanted: &[Wanted], blobs: &BTreeMap<Digest, u64>) -> Index {
    let mut manifests = Vec::new();
    for Wanted { stored, tags } in wanted {
        let media_type = stored.manifest.media_type();
        let size = blobs.get(&stored.manifest_digest).copied().unwrap_or_default();
        let plain = Descriptor {
            platform: Some(Platform::of(&stored.config)).filter(|platform| !platform.architecture.is_empty()),
            ..Descriptor::new(media_type, stored.manifest_digest.clone(), size)
        };
        if tags.is_empty() {
            manifests.push(plain);
            continue;
        }
        manifests.extend(tags.iter().map(|name| Descriptor {
            annotations: Some(BTreeMap::from([
                (CONTAINERD_NAME.to_owned(), name.to_string()),
                (REF_NAME.to_owned(), name.tag().unwrap_or_default().to_owned()),
            ])),
            ..plain.clone()
        }));
    }
    Index { schema_version: 2, media_type: OCI_INDEX.to_owned(), manifests }
}

fn listed(Wanted { stored, tags }: &Wanted) -> Listed {
    Listed {
        config: blob_name(&stored.id),
        repo_tags: (!tags.is_empty()).then(|| tags.iter().map(Reference::familiar).collect()),
        layers: stored.manifest.layers.iter().map(|layer| blob_name(&layer.digest)).collect(),
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn directory(pieces: &mut Vec<Piece>, name: &str) -> Result<(), Error> {
    pieces.push(header(name, EntryType::Directory, 0)?);
    Ok(())
}

fn document(pieces: &mut Vec<Piece>, name: &str, content: &impl Serialize) -> Result<(), Error> {
    let mut data = serde_json::to_vec(content).map_err(|error| Error::document(name, error))?;
    pieces.push(header(name, EntryType::Regular, data.len() as u64)?);
    data.resize(data.len().next_multiple_of(512), 0);
    pieces.push(Piece::Memory(data));
    Ok(())
}

fn header(name: &str, kind: EntryType, size: u64) -> Result<Piece, Error> {
    let mut header = Header::new_ustar();
    header.set_path(name).map_err(|error| Error::document(name, error))?;
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    Ok(Piece::Memory(header.as_bytes().to_vec()))
}
