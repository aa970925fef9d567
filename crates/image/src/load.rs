//! `load`: images from an archive, as `docker save` writes it (old and new) or as an OCI image layout.
//!
//! The archive's entries come in any order, its table of contents often last. So every entry is stored first, as a
//! blob under its own digest (small ones at the top level in memory), and put together afterwards; what turns out not
//! to be part of an image is removed.

use std::collections::HashMap;
use std::io::{Read, Write};

use serde::Deserialize;
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;

use crate::archive::compress::{Compression, decompress};
use crate::archive::{Entry, Kind, Reader, clean};
use crate::index::{REF_NAME, Stored};
use crate::leases::{Item, Lease};
use crate::manifest::{Descriptor, Document, Index, MAX_DOCUMENT, Platform};
use crate::store::blocking;
use crate::{Digest, Error, Image, ImageStore, Origin, Origins, Progress, ProgressSender, Reference};

/// containerd's and new Docker's annotation: the whole name.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";
const MAX_ENTRIES: usize = 100_000;
/// All documents at the top level together.
const MAX_DOCUMENTS: u64 = 64 << 20;

/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// An archive's entry.
enum Content {
    Document(Vec<u8>),
    Blob(Digest, u64),
    /// A link to another entry: old Docker writes a layer that occurs twice so.
    Link(Vec<u8>),
}

/// Everything in an archive, by cleaned name.
#[derive(Default)]
struct Contents(HashMap<Vec<u8>, Content>);

/// An image about to be put together.
struct Found {
    stored: Stored,
    names: Vec<Reference>,
}

impl ImageStore {
    /// Loads every image of an archive, compressed or not.
    pub async fn load(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        progress: &ProgressSender,
    ) -> Result<Vec<Image>, Error> {
        let (store, sender) = (self.clone(), progress.clone());
        let lease = self.shared.leases.lease();
        let stream = SyncIoBridge::new(archive);
        let (lease, blobs, found) = blocking("reading an archive", move || {
            let mut blobs = Vec::new();
            let found = store.read_archive(stream, &lease, &mut blobs, &sender);
            Ok((lease, blobs, found))
        })
        .await?;
        let result = match found {
            Ok(found) => self.load_found(found, &lease, progress).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            lease.settled().await;
        }
        drop(lease);
        let store = self.clone();
        blocking("cleaning up", move || Ok(store.collect(blobs))).await?;
        result
    }

    async fn load_found(
        &self,
        found: Vec<Found>,
        lease: &Lease,
        progress: &ProgressSender,
    ) -> Result<Vec<Image>, Error> {
        let mut images = Vec::new();
        for Found { stored, names } in found {
            let blobs: Vec<_> =
                stored.manifest.layers.iter().map(|layer| (layer.digest.clone(), layer.size)).collect();
            let here = |_| std::future::ready(Ok(()));
            self.unpack_layers(lease, &stored.config.rootfs.diff_ids, &blobs, here, progress, true).await?;
            let (image, lost) = self.commit(stored, names.clone(), Origins::of(Origin::Loaded)).await?;
            for (name, old) in lost {
                progress.send(Progress::Renamed { name, old });
            }
            if names.is_empty() {
                progress.send(Progress::LoadedId(image.id().clone()));
            }
            names.into_iter().for_each(|name| progress.send(Progress::Loaded(name)));
            images.push(image);
        }
        Ok(images)
    }

    /// Stores the archive's content and finds the images in it.
    fn read_archive(
        &self,
        stream: impl Read + Send,
        lease: &Lease,
        blobs: &mut Vec<Item>,
        progress: &ProgressSender,
    ) -> Result<Vec<Found>, Error> {
        let (stream, _) = decompress(stream)?;
        let stream = std::io::BufReader::with_capacity(256 << 10, stream);
        let mut reader = Reader::new(stream);
        let mut contents = Contents::default();
        let mut documents = 0;
        while let Some(entry) = reader.next_entry()? {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            if contents.0.len() >= MAX_ENTRIES {
                return Err(Error::Archive(format!("more than {MAX_ENTRIES} entries")));
            }
            let name = entry_name(&entry)?;
            let content = match &entry.kind {
                Kind::File { sparse: None } if !name.contains(&b'/') && entry.size <= MAX_DOCUMENT => {
                    documents += entry.size;
                    if documents > MAX_DOCUMENTS {
                        return Err(Error::Archive("too many documents".into()));
                    }
                    Content::Document(read_document(&mut reader, entry.size)?)
                }
                Kind::File { sparse: None } => {
                    let (digest, size) = self.spool_entry(&mut reader, &name, entry.size, lease, blobs)?;
                    Content::Blob(digest, size)
                }
                Kind::Symlink { target } => {
                    let directory =
                        name.iter().rposition(|&b| b == b'/').map_or(&[][..], |slash| &name[..slash]);
                    Content::Link(join(&[directory, target].join(&b'/'), &entry)?)
                }
                Kind::HardLink { target } => Content::Link(join(target, &entry)?),
                Kind::Directory | Kind::Ignored => continue,
                _ => return Err(Error::entry(&entry.name, "neither a file nor a directory")),
            };
            contents.0.insert(name, content);
        }
        // The sender of a compressed stream is told of its end only by reading up to it.
        std::io::copy(&mut reader.get_mut().take(MAX_DOCUMENT), &mut std::io::sink())
            .map_err(Error::Stream)?;
        let found = if contents.0.contains_key(&b"manifest.json"[..]) {
            self.saved_images(&contents)
        } else if contents.0.contains_key(&b"index.json"[..]) {
            self.layout_images(&contents)
        } else {
            Err(Error::Archive("neither manifest.json nor index.json is in it".into()))
        };
        for found in found.iter().flatten() {
            for item in found.stored.items() {
                lease.hold(item.clone());
                blobs.push(item);
            }
        }
        found
    }

    /// Stores one entry as a blob. A name that is a digest must be the right one.
    fn spool_entry<R: Read>(
        &self,
        reader: &mut Reader<R>,
        name: &[u8],
        size: u64,
        lease: &Lease,
        blobs: &mut Vec<Item>,
    ) -> Result<(Digest, u64), Error> {
        let mut writer = self.shared.blobs.writer()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let n = reader.read_data(&mut buffer)?;
            if n == 0 {
                break;
            }
            writer.write_all(&buffer[..n]).map_err(|error| match Error::io(&self.shared.root, error) {
                Error::NoSpace(_) => Error::NoSpace(self.shared.root.clone()),
                other => other,
            })?;
        }
        if writer.bytes() != size {
            return Err(Error::Archive("entry is shorter than its size".into()));
        }
        let text = String::from_utf8_lossy(name);
        let promised = text.strip_prefix("blobs/sha256/").map(|hex| format!("sha256:{hex}"));
        let (digest, size) = writer.commit()?;
        lease.hold(Item::Blob(digest.clone()));
        blobs.push(Item::Blob(digest.clone()));
        match promised.and_then(|promised| promised.parse::<Digest>().ok()) {
            Some(promised) if promised != digest => Err(Error::DigestMismatch {
                what: text.into_owned(),
                expected: promised.to_string(),
                actual: digest.to_string(),
            }),
            _ => Ok((digest, size)),
        }
    }

    /// The images of `manifest.json`.
    fn saved_images(&self, contents: &Contents) -> Result<Vec<Found>, Error> {
        let list: Vec<SavedImage> =
            serde_json::from_slice(&contents.document(&self.shared.blobs, b"manifest.json")?)
                .map_err(|error| Error::document("manifest.json", error))?;
        let mut found = Vec::new();
        for saved in list {
            let config = contents.document(&self.shared.blobs, saved.config.as_bytes())?;
            let mut layers = Vec::new();
            for layer in saved.layers.iter().flatten() {
                let (digest, size) = contents.blob(&self.shared.blobs, layer.as_bytes())?;
                layers.push(Descriptor::new(self.media_type(&digest)?, digest, size));
            }
            let names =
                saved.repo_tags.iter().flatten().map(|name| name.parse()).collect::<Result<_, _>>()?;
            // Checked before anything of it is written.
            crate::ImageConfig::parse(&config)?;
            let stored = match self.own_manifest(contents, &Digest::of(&config), &layers)? {
                Some(manifest) => {
                    self.shared.blobs.write(&config)?;
                    Stored::read(&self.shared.blobs, &manifest)?
                }
                None => self.describe(config, layers)?,
            };
            found.push(Found { stored, names });
        }
        Ok(found)
    }

    /// The manifest that an archive which is an OCI layout as well has for exactly this image: kept, because its
    /// digest is what registries know the image by.
    fn own_manifest(
        &self,
        contents: &Contents,
        config: &Digest,
        layers: &[Descriptor],
    ) -> Result<Option<Digest>, Error> {
        let Ok(json) = contents.document(&self.shared.blobs, b"index.json") else { return Ok(None) };
        let index: Index =
            serde_json::from_slice(&json).map_err(|error| Error::document("index.json", error))?;
        for entry in index.manifests {
            let name = format!("blobs/sha256/{}", entry.digest.hex());
            let Ok(Content::Blob(digest, _)) = contents.find(name.as_bytes()) else { continue };
            let Ok(Document::Manifest(manifest)) = Document::parse(&self.shared.blobs.read(digest)?) else {
                continue;
            };
            let same = manifest.layers.iter().map(|layer| (&layer.digest, layer.size));
            if manifest.config.digest == *config
                && same.eq(layers.iter().map(|layer| (&layer.digest, layer.size)))
            {
                return Ok(Some(digest.clone()));
            }
        }
        Ok(None)
    }

    /// The media type that a layer's first bytes ask for.
    fn media_type(&self, digest: &Digest) -> Result<&'static str, Error> {
        let path = self.shared.blobs.path(digest);
        let mut start = Vec::new();
        let file = std::fs::File::open(&path).map_err(|error| Error::io(&path, error))?;
        file.take(6).read_to_end(&mut start).map_err(|error| Error::io(&path, error))?;
        Ok(Compression::detect(&start)?.layer_media_type())
    }

    /// The images of an OCI layout's `index.json`.
    fn layout_images(&self, contents: &Contents) -> Result<Vec<Found>, Error> {
        let index: Index = serde_json::from_slice(&contents.document(&self.shared.blobs, b"index.json")?)
            .map_err(|error| Error::document("index.json", error))?;
        let mut found = Vec::new();
        for entry in &index.manifests {
            let manifest = self.layout_manifest(contents, entry, 0)?;
            let stored = Stored::read(&self.shared.blobs, &manifest.digest)?;
            for part in stored.manifest.layers.iter().chain([&stored.manifest.config]) {
                self.layout_blob(contents, part)?;
            }
            found.push(Found { stored, names: layout_name(entry)?.into_iter().collect() });
        }
        Ok(found)
    }

    /// Follows nested indexes to the manifest for this host.
    fn layout_manifest(
        &self,
        contents: &Contents,
        entry: &Descriptor,
        depth: u32,
    ) -> Result<Descriptor, Error> {
        self.layout_blob(contents, entry)?;
        match Document::parse(&self.shared.blobs.read(&entry.digest)?)? {
            Document::Manifest(_) => Ok(entry.clone()),
            Document::Index(index) if depth < 4 => {
                let platform = Platform::host();
                let chosen = index.select(&platform);
                let chosen = chosen.ok_or_else(|| Error::NoPlatform { platform: platform.to_string() })?;
                self.layout_manifest(contents, chosen, depth + 1)
            }
            Document::Index(_) => Err(Error::Archive("indexes nested too deeply".into())),
        }
    }

    /// Checks that a blob came with the archive and has the promised size.
    fn layout_blob(&self, contents: &Contents, descriptor: &Descriptor) -> Result<(), Error> {
        let name = format!("blobs/sha256/{}", descriptor.digest.hex());
        let (_, size) = contents.blob(&self.shared.blobs, name.as_bytes())?;
        if size != descriptor.size {
            return Err(Error::SizeMismatch { what: name, expected: descriptor.size, actual: size });
        }
        Ok(())
    }
}

impl Contents {
    fn find(&self, name: &[u8]) -> Result<&Content, Error> {
        let missing = || Error::Archive(format!("{} is missing", String::from_utf8_lossy(name)));
        let mut key = clean(name).ok_or_else(missing)?.join(&b'/');
        for _ in 0..8 {
            match self.0.get(&key).ok_or_else(missing)? {
                Content::Link(target) => key.clone_from(target),
                content => return Ok(content),
            }
        }
        Err(Error::Archive(format!("{}: too many links", String::from_utf8_lossy(name))))
    }

    fn document(&self, blobs: &crate::blobs::Blobs, name: &[u8]) -> Result<Vec<u8>, Error> {
        match self.find(name)? {
            Content::Document(data) => Ok(data.clone()),
            Content::Blob(digest, _) => blobs.read(digest),
            Content::Link(_) => Err(Error::Archive("unresolved link".into())),
        }
    }

    fn blob(&self, blobs: &crate::blobs::Blobs, name: &[u8]) -> Result<(Digest, u64), Error> {
        match self.find(name)? {
            Content::Document(data) => Ok((blobs.write(data)?, data.len() as u64)),
            Content::Blob(digest, size) => Ok((digest.clone(), *size)),
            Content::Link(_) => Err(Error::Archive("unresolved link".into())),
        }
    }
}

fn entry_name(entry: &Entry) -> Result<Vec<u8>, Error> {
    if entry.name.starts_with(b"/") {
        return Err(Error::entry(&entry.name, "absolute path"));
    }
    join(&entry.name, entry)
}

fn join(path: &[u8], entry: &Entry) -> Result<Vec<u8>, Error> {
    let parts = clean(path).ok_or_else(|| Error::entry(&entry.name, "path climbs out of the archive"))?;
    Ok(parts.join(&b'/'))
}

fn read_document<R: Read>(reader: &mut Reader<R>, size: u64) -> Result<Vec<u8>, Error> {
    let mut data =
        vec![0; usize::try_from(size).map_err(|_large| Error::Archive("document too large".into()))?];
    let mut filled = 0;
    while filled < data.len() {
        filled += match reader.read_data(&mut data[filled..])? {
            0 => return Err(Error::Archive("unexpected end of the archive".into())),
            n => n,
        };
    }
    Ok(data)
}

/// The name in an index entry. `org.opencontainers.image.ref.name` often is a mere tag, which names nothing.
fn layout_name(entry: &Descriptor) -> Result<Option<Reference>, Error> {
    let Some(annotations) = &entry.annotations else { return Ok(None) };
    if let Some(name) = annotations.get(CONTAINERD_NAME) {
        return Ok(Some(name.parse()?));
    }
    let name = annotations.get(REF_NAME).filter(|name| name.contains(['/', ':', '@']));
    name.map(|name| name.parse().map_err(Error::from)).transpose()
}
