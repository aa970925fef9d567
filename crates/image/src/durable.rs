//! What would survive a power cut.
//!
//! Waiting for the disk before answering a load costs seconds (`syncfs` also waits for everybody else's data), so it
//! happens afterwards. `durable.json` lists what is known to be on disk, and the boot in which the rest was written:
//! after a crash of the daemon alone the kernel still has everything; after a crash of the machine whatever is not
//! listed is distrusted: such layers are unpacked again from their blobs, such blobs are verified.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::error::IoContext;
use crate::leases::{Item, lock};
use crate::{Digest, Error};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    boot: String,
    blobs: HashSet<Digest>,
    layers: HashSet<Digest>,
}

/// Keeper of `durable.json`.
#[derive(Debug)]
pub(crate) struct Durable {
    root: PathBuf,
    /// One `syncfs` at a time: a second one waits, and then has little to do.
    syncing: Mutex<()>,
    /// What a crash of the machine may have damaged, found when the store was opened.
    distrusted: Option<Record>,
}

impl Durable {
    pub(crate) fn open(root: &Path) -> Self {
        let record: Option<Record> =
            fs::read(root.join("durable.json")).ok().and_then(|data| serde_json::from_slice(&data).ok());
        let same_boot = record.as_ref().is_some_and(|record| record.boot == boot_id());
        let distrusted = if same_boot { None } else { Some(record.unwrap_or_default()) };
        Self { root: root.to_owned(), syncing: Mutex::default(), distrusted }
    }

    /// Whether the item was written before a crash of the machine and perhaps never reached the disk.
    pub(crate) fn is_doubtful(&self, item: &Item) -> bool {
        self.distrusted.as_ref().is_some_and(|known| match item {
            Item::Blob(digest) => !known.blobs.contains(digest),
            Item::Layer(chain_id) => !known.layers.contains(chain_id),
            // Made again in a second.
            Item::Erofs(_) => true,
        })
    }

    /// Notes, after the first start in a boot, what is known to be on disk: from now on the rest is this boot's.
    pub(crate) fn begin(&self, items: impl Iterator<Item = Item>) -> Result<(), Error> {
        if self.distrusted.is_none() {
            return Ok(());
        }
        self.write(items.filter(|item| !self.is_doubtful(item)))
    }

    /// Brings everything to disk and notes that these items are there.
    pub(crate) fn sync(&self, items: impl Iterator<Item = Item>) -> Result<(), Error> {
        let _one = lock(&self.syncing);
        rustix::fs::syncfs(File::open(&self.root).at(&self.root)?).at(&self.root)?;
        self.write(items)
    }

    fn write(&self, items: impl Iterator<Item = Item>) -> Result<(), Error> {
        let mut record = Record { boot: boot_id(), ..Record::default() };
        for item in items {
            match item {
                Item::Blob(digest) => drop(record.blobs.insert(digest)),
                Item::Layer(chain_id) => drop(record.layers.insert(chain_id)),
                Item::Erofs(_) => {}
            }
        }
        let path = self.root.join("durable.json");
        let json = serde_json::to_vec(&record).map_err(|error| Error::document("durable.json", error))?;
        let new = self.root.join("durable.json.new");
        File::create(&new)
            .and_then(|mut file| file.write_all(&json).and_then(|()| file.sync_all()))
            .at(&new)?;
        fs::rename(&new, &path).at(&path)
    }
}

/// Whether the file has this digest.
pub(crate) fn verifies(path: &Path, digest: &Digest) -> bool {
    let mut hasher = crate::digest::Hasher::default();
    let mut sink = Sink(&mut hasher);
    File::open(path).and_then(|mut file| io::copy(&mut file, &mut sink)).is_ok() && hasher.finish() == *digest
}

struct Sink<'a>(&'a mut crate::digest::Hasher);

impl Write for Sink<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_boot_makes_doubtful() {
        let root = tempfile::TempDir::new().unwrap();
        let (old, new) = (Item::Blob(Digest::of(b"old")), Item::Blob(Digest::of(b"new")));
        Durable::open(root.path()).sync([old.clone()].into_iter()).unwrap();
        let same = Durable::open(root.path());
        assert!(!same.is_doubtful(&old) && !same.is_doubtful(&new));
        let path = root.path().join("durable.json");
        let text = fs::read_to_string(&path).unwrap().replace(&boot_id(), "another");
        fs::write(&path, text).unwrap();
        let other = Durable::open(root.path());
        assert!(!other.is_doubtful(&old) && other.is_doubtful(&new));
        // The second start in that boot trusts what the boot wrote: containers run on it.
        other.begin([old, new.clone()].into_iter()).unwrap();
        assert!(!Durable::open(root.path()).is_doubtful(&new));
    }
}
