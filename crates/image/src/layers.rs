//! Unpacked layers: `layers/<chain ID>/diff`, complete as soon as the directory has this name.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::archive::compress::{Compression, decompress};
use crate::digest::Hasher;
use crate::error::{IoContext, is_full};
use crate::unpack::{Unpacked, settle, unpack};
use crate::{Digest, Error};

/// What is remembered of an unpacked layer, `layer.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerInfo {
    pub diff_id: Digest,
    /// Bytes of regular files.
    pub size: u64,
    /// Whether it has files with holes.
    pub sparse: bool,
}

/// The layer directory.
#[derive(Debug)]
pub(crate) struct Layers {
    directory: PathBuf,
    temporary: PathBuf,
}

/// A layer unpacked under a temporary name.
pub(crate) struct Staged {
    directory: TempDir,
    unpacked: Unpacked,
    pub diff_id: Digest,
    pub compression: Compression,
}

/// The IDs of the stacks that end with each layer (OCI image-spec, "Layer ChainID").
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(match chain.last() {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        });
    }
    chain
}

impl Layers {
    pub(crate) fn open(root: &Path, temporary: &Path) -> Result<Self, Error> {
        let directory = root.join("layers");
        fs::create_dir_all(&directory).at(&directory)?;
        Ok(Self { directory, temporary: temporary.to_owned() })
    }

    pub(crate) fn path(&self, chain_id: &Digest) -> PathBuf {
        self.directory.join(chain_id.hex())
    }

    pub(crate) fn diff(&self, chain_id: &Digest) -> PathBuf {
        self.path(chain_id).join("diff")
    }

    pub(crate) fn info(&self, chain_id: &Digest) -> Result<LayerInfo, Error> {
        let path = self.path(chain_id).join("layer.json");
        let data = fs::read(&path).at(&path)?;
        serde_json::from_slice(&data).map_err(|error| Error::document(path.display().to_string(), error))
    }

    pub(crate) fn contains(&self, chain_id: &Digest) -> bool {
        self.path(chain_id).is_dir()
    }

    /// Every layer's chain ID.
    pub(crate) fn list(&self) -> Vec<Digest> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        entries
            .filter_map(|entry| format!("sha256:{}", entry.ok()?.file_name().to_str()?).parse().ok())
            .collect()
    }

    /// Unpacks a blob under a temporary name. Decompressing and hashing run on a thread of their own beside the
    /// file system work. `expected` is verified after the last byte.
    pub(crate) fn stage(
        &self,
        blob: &Path,
        expected: Option<&Digest>,
        on_read: &mut (dyn FnMut(u64) + Send),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Staged, Error> {
        let directory = TempDir::new_in(&self.temporary).at(&self.temporary)?;
        let diff = directory.path().join("diff");
        fs::create_dir(&diff).at(&diff)?;
        let blob = Counted { inner: File::open(blob).at(blob)?, read: 0, on_read };
        let (stream, compression) = decompress(blob)?;
        let (sender, receiver) = sync_channel(8);
        let (unpacked, hasher) = std::thread::scope(|scope| {
            let producer = scope.spawn(move || {
                let (mut stream, mut hasher) = (stream, Hasher::default());
                loop {
                    let mut chunk = Vec::with_capacity(CHUNK);
                    let result = (&mut stream).take(CHUNK as u64).read_to_end(&mut chunk);
                    hasher.update(&chunk);
                    let failed = result.is_err();
                    let more = match result {
                        Ok(0) => break,
                        Ok(_) => Ok(chunk),
                        Err(error) => Err(blame_archive(error, compression)),
                    };
                    // The unpacking thread has given up: it knows why.
                    if sender.send(more).is_err() || failed {
                        break;
                    }
                }
                hasher
            });
            let unpacked = unpack(Chunks { receiver, chunk: Vec::new(), next: 0 }, &diff, cancelled);
            (unpacked, producer.join())
        });
        let unpacked = unpacked?;
        let diff_id = hasher.map_err(|_panicked| Error::Aborted("decompression"))?.finish();
        if let Some(expected) = expected
            && *expected != diff_id
        {
            return Err(Error::DigestMismatch {
                what: "layer diffID".into(),
                expected: expected.to_string(),
                actual: diff_id.to_string(),
            });
        }
        Ok(Staged { directory, unpacked, diff_id, compression })
    }

    /// Gives a staged layer its name, on top of the layers `lower` (topmost first).
    pub(crate) fn publish(
        &self,
        staged: Staged,
        chain_id: &Digest,
        lower: &[PathBuf],
    ) -> Result<LayerInfo, Error> {
        let Staged { directory, unpacked, diff_id, .. } = staged;
        settle(&directory.path().join("diff"), &unpacked.implied, lower)?;
        let info = LayerInfo { diff_id, size: unpacked.size, sparse: unpacked.sparse };
        let path = directory.path().join("layer.json");
        let json = serde_json::to_vec(&info).map_err(|error| Error::document("layer.json", error))?;
        fs::write(&path, json).at(&path)?;
        let target = self.path(chain_id);
        match fs::rename(directory.path(), &target) {
            // Nothing is left under the temporary name for its guard to remove.
            Ok(()) => drop(directory.keep()),
            // Somebody was faster; theirs is as good.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(Error::io(&target, error)),
        }
        Ok(info)
    }
}

const CHUNK: usize = 120 << 10;

/// Errors without a number come from the decompressor, not from the file.
fn blame_archive(error: io::Error, compression: Compression) -> io::Error {
    let ours = error.raw_os_error().is_some() || is_full(&error) || compression == Compression::Plain;
    if ours || error.kind() == io::ErrorKind::UnexpectedEof {
        return error;
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Counts what is read.
struct Counted<'a, R> {
    inner: R,
    read: u64,
    on_read: &'a mut (dyn FnMut(u64) + Send),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        (self.on_read)(self.read);
        Ok(n)
    }
}

/// The receiving end of the pipeline as a stream.
struct Chunks {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    next: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.next == self.chunk.len() {
            match self.receiver.recv() {
                Ok(chunk) => (self.chunk, self.next) = (chunk?, 0),
                Err(_ended) => return Ok(0),
            }
        }
        let n = buffer.len().min(self.chunk.len() - self.next);
        buffer[..n].copy_from_slice(&self.chunk[self.next..self.next + n]);
        self.next += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_follow_the_specification() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let chain = chain_ids(&[a.clone(), b.clone()]);
        assert_eq!(chain[0], a);
        assert_eq!(chain[1], Digest::of(format!("{a} {b}").as_bytes()));
    }
}
