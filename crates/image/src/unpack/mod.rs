//! Unpacking one layer: a tar stream from a stranger becomes a directory in overlayfs's format.
//!
//! What makes it safe:
//!
//! * every path is resolved by the kernel with `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)`
//!   below the layer's own directory, so that symlinks (also ones from earlier entries) lead nowhere else;
//!   everything after that works on directory descriptors and single names ([`root::Root`]);
//! * absolute names, names and relative symlink targets that climb out are refused, as is what [`limits`] bounds;
//! * the directory is private (its ancestors are 0700) and gets its final name only when the whole stream was read,
//!   verified and unpacked; until then a failure removes it.
//!
//! What is kept: owners, modes (set-user-ID too), times (directories' last), xattrs (file capabilities), hard links,
//! symlinks, holes, FIFOs and device nodes. Device nodes are allowed as Docker allows them, since base images hold
//! `/dev/null` and friends: opening one is decided by the container's device rules, not by its existence. They are
//! counted against a limit. Sockets cannot be in a tar archive. Extended attributes in overlayfs's own
//! name spaces are dropped: they would steer the mount.
//!
//! Whiteouts: `.wh.name` becomes a 0:0 character device, `.wh..wh..opq` an opaque directory; AUFS's other
//! `.wh..wh.` files are skipped. When a layer both deletes a directory and creates it again it becomes opaque.
//!
//! Directories that a layer uses without listing them get their metadata from the layers below ([`settle`]).

mod limits;
mod root;
mod settle;
mod write;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use crate::Error;
use crate::archive::{Entry, Kind, Reader, clean};

use limits::Budget;
use root::{Meta, Root};
pub(crate) use settle::settle;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS_META: &[u8] = b".wh..wh.";

/// What unpacking found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Bytes of regular files, holes included: the layer's size as Docker counts it.
    pub size: u64,
    /// Whether a file has holes worth keeping.
    pub sparse: bool,
    /// Directories created because an entry was below them, parents first; an empty path is the root.
    pub implied: Vec<Vec<u8>>,
}

/// Unpacks the tar stream into the empty directory `target`, reading the stream to its end.
/// `cancelled` is asked between entries.
pub(crate) fn unpack(
    stream: impl Read,
    target: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<Unpacked, Error> {
    let mut reader = Reader::new(stream);
    let mut layer = Layer::open(target)?;
    while let Some(entry) = reader.next_entry()? {
        if cancelled() {
            return Err(Error::Cancelled);
        }
        layer.add(&entry, &mut reader)?;
    }
    limits::drain(reader.get_mut())?;
    layer.finish()
}

/// A layer being unpacked.
struct Layer {
    root: Root,
    budget: Budget,
    /// Times of listed directories, set when nothing changes them any more.
    directories: HashMap<Vec<u8>, (i64, u32)>,
    result: Unpacked,
}

impl Layer {
    fn open(target: &Path) -> Result<Self, Error> {
        let root = Root::open(target)?;
        let budget = Budget::new(target);
        Ok(Self { root, budget, directories: HashMap::new(), result: Unpacked::default() })
    }

    fn add<R: Read>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<(), Error> {
        if entry.kind == Kind::Ignored {
            return Ok(());
        }
        self.budget.count_entry(entry)?;
        if entry.name.starts_with(b"/") {
            return Err(Error::entry(&entry.name, "absolute path"));
        }
        let parts =
            clean(&entry.name).ok_or_else(|| Error::entry(&entry.name, "path climbs out of the archive"))?;
        let Some((&name, parents)) = parts.split_last() else {
            return self.add_root(entry);
        };
        if parts.len() > limits::MAX_DEPTH {
            return Err(Error::entry(&entry.name, "path is too deep"));
        }
        if parts.iter().any(|part| part.starts_with(AUFS_META) && *part != OPAQUE) {
            return Ok(());
        }
        if name.len() > 255 {
            return Err(Error::entry(&entry.name, "file name too long"));
        }
        let parent = self.root.parent(parents, &mut self.result.implied)?;
        if name == OPAQUE {
            return self.root.make_opaque(&parent);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(Error::entry(&entry.name, "bad whiteout"));
            }
            return self.root.whiteout(&parent, hidden);
        }
        let meta = Meta::of(entry);
        match &entry.kind {
            Kind::File { sparse } => {
                let file = self.root.create_file(&parent, name)?;
                write::data(&file, entry, sparse.as_deref(), reader, &mut self.budget)
                    .map_err(|error| self.root.name_error(error, &parent, name))?;
                self.root.dress_file(&file, &parent, name, &meta)?;
                self.result.size += entry.size;
                self.result.sparse |= sparse.is_some() && entry.size >= limits::SPARSE_MATTERS;
            }
            Kind::Directory => {
                self.root.create_directory(&parent, name)?;
                self.root.dress(&parent, name, &meta, false)?;
                let path = parts.join(&b'/');
                self.budget.remember(&path)?;
                self.directories.insert(path, entry.mtime);
            }
            Kind::Symlink { target } => {
                check_symlink(entry, parents, target)?;
                self.root.create_symlink(&parent, name, target)?;
                self.root.dress(&parent, name, &meta, true)?;
            }
            Kind::HardLink { target } => {
                let target =
                    clean(target).ok_or_else(|| Error::entry(&entry.name, "link target climbs out"))?;
                if target == parts {
                    return Err(Error::entry(&entry.name, "hard link to itself"));
                }
                self.root.link(&parent, name, &target)?;
            }
            Kind::CharDevice { major, minor } => {
                self.root.create_device(
                    &parent,
                    name,
                    rustix::fs::FileType::CharacterDevice,
                    *major,
                    *minor,
                )?;
                self.root.dress(&parent, name, &meta, false)?;
            }
            Kind::BlockDevice { major, minor } => {
                self.root.create_device(&parent, name, rustix::fs::FileType::BlockDevice, *major, *minor)?;
                self.root.dress(&parent, name, &meta, false)?;
            }
            Kind::Fifo => {
                self.root.create_device(&parent, name, rustix::fs::FileType::Fifo, 0, 0)?;
                self.root.dress(&parent, name, &meta, false)?;
            }
            Kind::Ignored => {}
        }
        Ok(())
    }

    /// An entry for the root itself (`./`): only a directory's metadata makes sense.
    fn add_root(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.kind != Kind::Directory {
            return Err(Error::entry(&entry.name, "replaces the root"));
        }
        let root = self.root.top();
        self.root.dress(&root, b".", &Meta::of(entry), false)?;
        self.directories.insert(Vec::new(), entry.mtime);
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked, Error> {
        // What was listed later is not implied; a listed root is not either.
        let directories = &self.directories;
        self.result.implied.retain(|path| !directories.contains_key(path));
        if !directories.contains_key(&[][..]) {
            self.result.implied.insert(0, Vec::new());
        }
        for (path, mtime) in &self.directories {
            self.root.set_directory_time(path, *mtime)?;
        }
        Ok(self.result)
    }
}

/// Docker refuses relative symlinks that climb out of the archive; absolute ones are the container's business and
/// resolve inside its root.
fn check_symlink(entry: &Entry, parents: &[&[u8]], target: &[u8]) -> Result<(), Error> {
    if target.starts_with(b"/") {
        return Ok(());
    }
    let joined = [parents.join(&b'/').as_slice(), target].join(&b'/');
    match clean(&joined) {
        Some(_) => Ok(()),
        None => Err(Error::entry(&entry.name, "symlink target climbs out of the archive")),
    }
}

#[cfg(test)]
mod tests;
