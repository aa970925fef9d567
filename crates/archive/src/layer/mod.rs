//! An overlay's upper directory as tar: what a container has changed, as an image's layer or as it is.

mod digest;
mod sparse;
mod xattrs;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Cursor, Read as _, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use tar::{Builder, EntryType};

use crate::read::{append, header};
use digest::{Hashed, Hasher};

pub use digest::TreeDigest;
pub(crate) use sparse::read_map;
pub(crate) use xattrs::is_carried;

/// Deepest nesting of directories: each is open while what is in it is written.
pub(crate) const MAX_DEPTH: usize = 256;
/// A socket, which tar has no type for: a FIFO with this record.
pub(crate) const SOCKET: &str = "COFFERDAM.socket";
/// The opaque mark, as a record.
pub(crate) const OPAQUE: &str = "SCHILY.xattr.trusted.overlay.opaque";

const WHITEOUT: &[u8] = b".wh.";

/// How an overlay's own marks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As an OCI image layer: `.wh.` files. A socket is dead in a copy, and left out.
    Oci,
    /// As they are, devices 0:0 and the opaque mark, and with sockets and access times: for [`crate::restore`].
    Overlay,
}

/// Writes everything in `upper`, the directory itself first; `ignored` paths are left out with all below them. Returns
/// the digest of what was written.
pub fn layer<W: Write>(upper: &Path, form: Form, ignored: &[&str], out: W) -> io::Result<TreeDigest> {
    let open = rustix::fs::openat(CWD, upper, DIRECTORY, Mode::empty())?;
    let hasher = Hasher::default();
    let mut tree = Tree { builder: Builder::new(out), linked: HashMap::new(), form, ignored, hasher };
    tree.directory(&open, &OsString::from("."), &[], 0)?;
    tree.builder.finish()?;
    Ok(tree.hasher.finish())
}

/// The digest that [`layer()`] in [`Form::Overlay`] returns for the tree.
pub fn digest(upper: &Path) -> io::Result<TreeDigest> {
    layer(upper, Form::Overlay, &[], io::sink())
}

/// Reading changes no access time.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

struct Tree<'a, W: Write> {
    builder: Builder<W>,
    /// Files with several names, by device and inode: the first name in the archive.
    linked: HashMap<(u64, u64), Vec<u8>>,
    form: Form,
    ignored: &'a [&'a str],
    hasher: Hasher,
}

impl<W: Write> Tree<'_, W> {
    /// A directory, then everything in it. `name` is its name in the archive; empty for the top.
    fn directory(&mut self, at: &OwnedFd, file: &OsStr, name: &[u8], depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(named(name, "directories are nested too deeply"));
        }
        let open = open(at, file, DIRECTORY)?;
        let stat = rustix::fs::fstat(&open)?;
        let mut shown = if name.is_empty() { b".".to_vec() } else { name.to_vec() };
        shown.push(b'/');
        let mut found = xattrs::read(at, file, name)?;
        let opaque = found.opaque && depth > 0;
        self.hasher.entry(name, &stat, if opaque { b"opaque" } else { b"" }, &found.carried);
        let mut records = self.records(&stat, &mut found.carried);
        if opaque && self.form == Form::Overlay {
            records.push((OPAQUE.to_owned(), b"y".to_vec()));
        }
        let mut head = header(&stat, EntryType::Directory, 0);
        append(&mut self.builder, &mut head, &shown, None, records, io::empty())?;
        let prefix = if name.is_empty() { Vec::new() } else { shown };
        if opaque && self.form == Form::Oci {
            self.mark(&stat, &[&prefix, &b".wh..wh..opq"[..]].concat())?;
        }
        for child in names(&open)? {
            let path = [&prefix, child.as_bytes()].concat();
            if self.ignored.iter().any(|ignored| ignored.as_bytes().strip_prefix(b"/") == Some(&path)) {
                continue;
            }
            match self.entry(&open, &child, &path, depth + 1) {
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, at: &OwnedFd, file: &OsStr, name: &[u8], depth: usize) -> io::Result<()> {
        let stat = rustix::fs::statat(at, file, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
        if self.form == Form::Oci {
            if whiteout {
                let (place, last) = split(name);
                return self.mark(&stat, &[place, WHITEOUT, last].concat());
            }
            if file.as_bytes().starts_with(WHITEOUT) {
                return Err(named(name, "a name that begins with .wh. cannot be in an image's layer"));
            }
        }
        if kind == FileType::Directory {
            return self.directory(at, file, name, depth);
        }
        if kind == FileType::Socket && self.form == Form::Oci {
            return Ok(());
        }
        // All whiteouts may be one inode, which is overlayfs's business.
        if stat.st_nlink > 1 && !whiteout {
            if let Some(first) = self.linked.get(&(stat.st_dev, stat.st_ino)).cloned() {
                self.hasher.link(name, &first);
                let mut head = header(&stat, EntryType::Link, 0);
                return append(&mut self.builder, &mut head, name, Some(&first), Vec::new(), io::empty());
            }
            self.linked.insert((stat.st_dev, stat.st_ino), name.to_vec());
        }
        let mut found = xattrs::read(at, file, name)?;
        if kind == FileType::RegularFile {
            return self.file(at, file, name, found.carried);
        }
        let target = match kind {
            FileType::Symlink => Some(rustix::fs::readlinkat(at, file, Vec::new())?.into_bytes()),
            _ => None,
        };
        self.hasher.entry(name, &stat, target.as_deref().unwrap_or_default(), &found.carried);
        let mut records = self.records(&stat, &mut found.carried);
        let kind = match kind {
            FileType::Symlink => EntryType::Symlink,
            FileType::BlockDevice => EntryType::Block,
            FileType::CharacterDevice => EntryType::Char,
            FileType::Socket => {
                records.push((SOCKET.to_owned(), b"1".to_vec()));
                EntryType::Fifo
            }
            _ => EntryType::Fifo,
        };
        let mut head = header(&stat, kind, 0);
        if matches!(kind, EntryType::Block | EntryType::Char) {
            head.set_device_major(rustix::fs::major(stat.st_rdev))?;
            head.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
        }
        append(&mut self.builder, &mut head, name, target.as_deref(), records, io::empty())
    }

    /// Exactly as many bytes as the header says, whatever happens to the file meanwhile.
    fn file(
        &mut self,
        at: &OwnedFd,
        file: &OsStr,
        name: &[u8],
        mut xattrs: Vec<(String, Vec<u8>)>,
    ) -> io::Result<()> {
        let file = File::from(open(at, file, FILE)?);
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.hasher.entry(name, &stat, &size.to_le_bytes(), &xattrs);
        let mut records = self.records(&stat, &mut xattrs);
        let Some(extents) = sparse::extents(&file, &stat)? else {
            let mut head = header(&stat, EntryType::Regular, size);
            let content = Hashed::new(&mut self.hasher, (&file).chain(io::repeat(0)).take(size));
            return append(&mut self.builder, &mut head, name, None, records, content);
        };
        // PAX format 1.0: the map is the first of the data.
        let map = sparse::write_map(&extents, size);
        let stored: u64 = extents.iter().map(|extent| extent.length).sum();
        records.extend([
            ("GNU.sparse.major".to_owned(), b"1".to_vec()),
            ("GNU.sparse.minor".to_owned(), b"0".to_vec()),
            ("GNU.sparse.name".to_owned(), name.to_vec()),
            ("GNU.sparse.realsize".to_owned(), size.to_string().into_bytes()),
        ]);
        let mut head = header(&stat, EntryType::Regular, stored + map.len() as u64);
        let content = sparse::Extents::new(&file, &extents, &mut self.hasher);
        append(&mut self.builder, &mut head, name, None, records, Cursor::new(map).chain(content))
    }

    /// An empty file whose name says something.
    fn mark(&mut self, stat: &Stat, name: &[u8]) -> io::Result<()> {
        let mut head = header(stat, EntryType::Regular, 0);
        head.set_mode(0);
        self.hasher.link(name, b"");
        append(&mut self.builder, &mut head, name, None, Vec::new(), io::empty())
    }

    /// Times to the nanosecond, and extended attributes.
    fn records(&self, stat: &Stat, xattrs: &mut Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
        let mut records = Vec::new();
        if stat.st_mtime_nsec != 0 || stat.st_mtime < 0 {
            records.push(("mtime".to_owned(), time(stat.st_mtime, stat.st_mtime_nsec)));
        }
        if self.form == Form::Overlay {
            records.push(("atime".to_owned(), time(stat.st_atime, stat.st_atime_nsec)));
        }
        let xattrs = xattrs.drain(..).map(|(name, value)| (format!("SCHILY.xattr.{name}"), value));
        records.extend(xattrs);
        records
    }
}

/// Without changing its access time, where that is allowed.
fn open(at: &OwnedFd, file: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
    match rustix::fs::openat(at, file, flags | OFlags::NOATIME, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => Ok(rustix::fs::openat(at, file, flags, Mode::empty())?),
        result => Ok(result?),
    }
}

/// The names in a directory, sorted.
fn names(open: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(open)? {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The directory with its slash, and the last name.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    name.split_at(name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1))
}

pub(crate) fn named(name: &[u8], what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/{}: {what}", String::from_utf8_lossy(name)))
}

/// Seconds with a fraction, as PAX writes them.
fn time(seconds: i64, nanos: u64) -> Vec<u8> {
    if seconds < 0 && nanos > 0 {
        // A negative number's fraction counts down, too.
        let whole = seconds + 1;
        let sign = if whole == 0 { "-" } else { "" };
        return format!("{sign}{whole}.{:09}", 1_000_000_000 - nanos).into_bytes();
    }
    format!("{seconds}.{nanos:09}").into_bytes()
}

#[cfg(test)]
mod tests;
