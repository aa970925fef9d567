//! Content-addressed blobs: `blobs/sha256/<hex>`, as in an OCI image layout.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::digest::Hasher;
use crate::error::IoContext;
use crate::manifest::MAX_DOCUMENT;
use crate::{Digest, Error};

/// The blob directory.
#[derive(Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
    temporary: PathBuf,
}

impl Blobs {
    pub(crate) fn open(root: &Path, temporary: &Path) -> Result<Self, Error> {
        let directory = root.join("blobs/sha256");
        fs::create_dir_all(&directory).at(&directory)?;
        Ok(Self { directory, temporary: temporary.to_owned() })
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }

    /// The blob's size when it is here.
    pub(crate) fn size(&self, digest: &Digest) -> Option<u64> {
        self.path(digest).metadata().ok().map(|meta| meta.len())
    }

    /// A small blob, read into memory.
    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        let mut data = Vec::new();
        File::open(&path).at(&path)?.take(MAX_DOCUMENT + 1).read_to_end(&mut data).at(&path)?;
        if data.len() as u64 > MAX_DOCUMENT {
            return Err(Error::document(digest.to_string(), "too large"));
        }
        Ok(data)
    }

    /// Stores a small blob.
    pub(crate) fn write(&self, data: &[u8]) -> Result<Digest, Error> {
        let mut writer = self.writer()?;
        writer.write_all(data).at(writer.path())?;
        writer.commit().map(|(digest, _)| digest)
    }

    /// Begins a blob.
    pub(crate) fn writer(&self) -> Result<BlobWriter, Error> {
        let file = NamedTempFile::new_in(&self.temporary).at(&self.temporary)?;
        Ok(BlobWriter { file, hasher: Hasher::default(), directory: self.directory.clone() })
    }

    /// Every blob's digest.
    pub(crate) fn list(&self) -> Vec<Digest> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        entries
            .filter_map(|entry| format!("sha256:{}", entry.ok()?.file_name().to_str()?).parse().ok())
            .collect()
    }
}

/// A blob being written; dropped without [`BlobWriter::commit`] it leaves nothing.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    file: NamedTempFile,
    hasher: Hasher,
    directory: PathBuf,
}

impl BlobWriter {
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.hasher.bytes()
    }

    /// Gives the blob its name, which is its digest.
    pub(crate) fn commit(self) -> Result<(Digest, u64), Error> {
        let size = self.hasher.bytes();
        let digest = self.hasher.finish();
        let path = self.directory.join(digest.hex());
        self.file.persist(&path).map_err(|error| Error::io(&path, error.error))?;
        Ok((digest, size))
    }

    /// Gives the blob its name when it is the promised one.
    pub(crate) fn commit_as(self, what: &str, expected: &Digest, size: u64) -> Result<(), Error> {
        if self.hasher.bytes() != size {
            let actual = self.hasher.bytes();
            return Err(Error::SizeMismatch { what: what.to_owned(), expected: size, actual });
        }
        let actual = self.hasher.clone().finish();
        if actual != *expected {
            return Err(Error::DigestMismatch {
                what: what.to_owned(),
                expected: expected.to_string(),
                actual: actual.to_string(),
            });
        }
        self.commit().map(|_| ())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = self.file.as_file_mut().write(data)?;
        self.hasher.update(&data[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
