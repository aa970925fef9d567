//! A tree that [`crate::layer()`] has written as it is, made again. It may come from a guest, so nothing that it says is
//! believed: every name is made new, below a directory that this has made and still holds open; nothing is replaced and
//! no link is followed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use tar::{Archive, Entry, EntryType};

use crate::layer::{MAX_DEPTH, OPAQUE, SOCKET, is_carried, named, read_map};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The longest records of one file: the kernel's limits on names and extended attributes.
const MAX_RECORDS: u64 = 1 << 20;

/// What an archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of files' content.
    pub bytes: u64,
    /// Files.
    pub entries: u64,
}

/// Fills the directory `top`, which is empty and stays ours alone, and gives it its own owner, mode and times.
pub fn restore(top: &Path, archive: impl Read, bounds: Bounds) -> io::Result<()> {
    let open = rustix::fs::openat(CWD, top, DIRECTORY, Mode::empty())?;
    let mut tree = Tree { top: open, open: Vec::new(), about: None, left: bounds };
    let mut archive = Archive::new(archive);
    // Records are read here: the crate splits them at line feeds, which names and values may contain.
    let mut records = None;
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        if entry.header().entry_type() == EntryType::XHeader {
            if records.is_some() || entry.size() > MAX_RECORDS {
                return Err(bad_records());
            }
            entry.read_to_end(records.insert(Vec::new()))?;
            continue;
        }
        tree.add(entry, &records.take().unwrap_or_default())?;
    }
    if records.is_some() {
        return Err(bad_records());
    }
    tree.leave(0)?;
    match tree.about.take() {
        Some(about) => about.set(&tree.top, b".", EntryType::Directory),
        None => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the archive does not begin with its directory"))
        }
    }
}

struct Tree {
    top: OwnedFd,
    /// The directories that the last entry is in, from the top down.
    open: Vec<(Vec<u8>, OwnedFd, About)>,
    /// Of the top itself.
    about: Option<About>,
    left: Bounds,
}

impl Tree {
    fn add(&mut self, mut entry: Entry<'_, impl Read>, records: &[u8]) -> io::Result<()> {
        let about = About::of(&entry, records)?;
        let name = about.name.clone();
        let bad = |what: &str| named(&name, what);
        self.left.entries = self.left.entries.checked_sub(1).ok_or_else(|| bad("too many files"))?;
        let name = name.strip_suffix(b"/").unwrap_or(&name);
        let kind = entry.header().entry_type();
        if self.about.is_none() {
            if name != b"." || kind != EntryType::Directory {
                return Err(bad("the archive does not begin with its directory"));
            }
            self.about = Some(about);
            return Ok(());
        }
        let parts = parts(name).ok_or_else(|| bad("not a name"))?;
        let Some((&last, parents)) = parts.split_last() else { return Err(bad("not a name")) };
        let common = self.open.iter().zip(parents).take_while(|((name, ..), part)| name == *part).count();
        self.leave(common)?;
        if parents.len() != common || common >= MAX_DEPTH {
            return Err(bad("not in a directory that was made just now"));
        }
        let parent = self.open.last().map_or(&self.top, |(_, open, _)| open);
        match kind {
            EntryType::Directory => {
                rustix::fs::mkdirat(parent, last, Mode::from_raw_mode(0o700))?;
                let open = rustix::fs::openat(parent, last, DIRECTORY, Mode::empty())?;
                self.open.push((last.to_vec(), open, about));
                return Ok(());
            }
            EntryType::Regular => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = File::from(rustix::fs::openat(parent, last, flags, Mode::from_raw_mode(0o600))?);
                fill(&file, &mut entry, &about, &mut self.left.bytes)?;
            }
            EntryType::Symlink => rustix::fs::symlinkat(about.target()?, parent, last)?,
            EntryType::Link => {
                let (directory, first) = self.first(about.target()?)?;
                let from = directory.as_ref().unwrap_or(&self.top);
                rustix::fs::linkat(from, first.as_os_str(), parent, last, AtFlags::empty())?;
                // It has the first name's everything.
                return Ok(());
            }
            EntryType::Fifo | EntryType::Char | EntryType::Block => {
                let kind = match kind {
                    EntryType::Fifo if about.socket => FileType::Socket,
                    EntryType::Fifo => FileType::Fifo,
                    EntryType::Char => FileType::CharacterDevice,
                    _ => FileType::BlockDevice,
                };
                let header = entry.header();
                let device = match kind {
                    FileType::CharacterDevice | FileType::BlockDevice => rustix::fs::makedev(
                        header.device_major()?.unwrap_or(0),
                        header.device_minor()?.unwrap_or(0),
                    ),
                    _ => 0,
                };
                rustix::fs::mknodat(parent, last, kind, Mode::from_raw_mode(0o600), device)?;
            }
            _ => return Err(bad("unknown kind of file")),
        }
        about.set(parent, last, kind)
    }

    /// Leaves all but so many directories, which get what the archive says of them.
    fn leave(&mut self, keep: usize) -> io::Result<()> {
        while self.open.len() > keep {
            let Some((_, open, about)) = self.open.pop() else { break };
            about.set(&open, b".", EntryType::Directory)?;
        }
        Ok(())
    }

    /// A link's first name: its directory, unless that is the top, and the name in it.
    fn first(&self, target: &[u8]) -> io::Result<(Option<OwnedFd>, OsString)> {
        let bad = || named(target, "not a file of this archive");
        let parts = parts(target).ok_or_else(bad)?;
        let (&last, parents) = parts.split_last().ok_or_else(bad)?;
        if parents.len() > MAX_DEPTH {
            return Err(bad());
        }
        let mut directory = None;
        for part in parents {
            let at = directory.as_ref().unwrap_or(&self.top);
            directory = Some(rustix::fs::openat(at, *part, DIRECTORY, Mode::empty())?);
        }
        Ok((directory, OsString::from_vec(last.to_vec())))
    }
}

/// A file's content.
fn fill(file: &File, entry: &mut impl Read, about: &About, left: &mut u64) -> io::Result<()> {
    let bad = || named(&about.name, "more content than may be");
    let mut copy = |from: &mut dyn Read, at: u64, length: u64| -> io::Result<()> {
        *left = left.checked_sub(length).ok_or_else(bad)?;
        let mut buffer = vec![0; 128 << 10];
        let mut done = 0;
        while done < length {
            let room = usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len());
            from.read_exact(&mut buffer[..room])?;
            file.write_all_at(&buffer[..room], at + done)?;
            done += room as u64;
        }
        Ok(())
    };
    let Some(size) = about.real_size else { return copy(entry, 0, about.stored) };
    if i64::try_from(size).is_err() {
        return Err(bad());
    }
    for extent in read_map(entry, size)? {
        copy(entry, extent.offset, extent.length)?;
    }
    file.set_len(size)
}

/// A relative path's names; nothing else is one.
fn parts(name: &[u8]) -> Option<Vec<&[u8]>> {
    let parts: Vec<_> = name.split(|byte| *byte == b'/').collect();
    let good = |part: &&[u8]| !part.is_empty() && *part != b"." && *part != b"..";
    (name.len() <= 64 << 10 && parts.iter().all(good)).then_some(parts)
}

/// What an entry's header and records say.
struct About {
    name: Vec<u8>,
    target: Option<Vec<u8>>,
    mode: u32,
    owner: (u32, u32),
    times: Timestamps,
    xattrs: Vec<(String, Vec<u8>)>,
    opaque: bool,
    socket: bool,
    stored: u64,
    real_size: Option<u64>,
}

impl About {
    fn of(entry: &Entry<'_, impl Read>, mut records: &[u8]) -> io::Result<Self> {
        let name = entry.path_bytes().into_owned();
        let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
        let header = entry.header();
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(bad_records);
        let seconds = Timespec { tv_sec: header.mtime()?.cast_signed(), tv_nsec: 0 };
        let mut about = Self {
            mode: header.mode()? & 0o7777,
            owner: (id(header.uid()?)?, id(header.gid()?)?),
            times: Timestamps { last_access: seconds, last_modification: seconds },
            xattrs: Vec::new(),
            opaque: false,
            socket: false,
            stored: entry.size(),
            real_size: None,
            target,
            name,
        };
        while !records.is_empty() {
            let (key, value, rest) = record(records).ok_or_else(bad_records)?;
            records = rest;
            match key {
                "path" => about.name = value.to_owned(),
                "linkpath" => about.target = Some(value.to_owned()),
                "mtime" => about.times.last_modification = time(value).ok_or_else(bad_records)?,
                "atime" => about.times.last_access = time(value).ok_or_else(bad_records)?,
                "GNU.sparse.realsize" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    about.real_size = Some(size.ok_or_else(bad_records)?);
                }
                OPAQUE => about.opaque = true,
                SOCKET => about.socket = true,
                key => {
                    if let Some(name) = key.strip_prefix("SCHILY.xattr.").filter(|name| is_carried(name)) {
                        about.xattrs.push((name.to_owned(), value.to_owned()));
                    }
                }
            }
        }
        Ok(about)
    }

    fn target(&self) -> io::Result<&[u8]> {
        self.target.as_deref().ok_or_else(|| named(&self.name, "a link without a target"))
    }

    /// Owner, mode, extended attributes, times, in this order: giving a file away takes bits and capabilities from it.
    fn set(&self, parent: &OwnedFd, name: &[u8], kind: EntryType) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if kind != EntryType::Symlink {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        }
        let path = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat();
        let path = std::ffi::OsStr::from_bytes(&path);
        for (key, value) in &self.xattrs {
            rustix::fs::lsetxattr(path, key.as_str(), value, XattrFlags::empty())?;
        }
        if self.opaque && kind == EntryType::Directory {
            rustix::fs::lsetxattr(path, "trusted.overlay.opaque", b"y", XattrFlags::empty())?;
        }
        Ok(rustix::fs::utimensat(parent, name, &self.times, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn bad_records() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a file's records are damaged")
}

/// The first `length key=value\n`, and what follows it.
fn record(data: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
        return None;
    }
    let body = &data[space + 1..length - 1];
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((std::str::from_utf8(&body[..equals]).ok()?, &body[equals + 1..], &data[length..]))
}

/// Seconds with a fraction, possibly negative.
pub(crate) fn time(value: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9.9}").parse().ok()?;
    if whole.starts_with('-') && nanos > 0 {
        return Some(Timespec { tv_sec: seconds.checked_sub(1)?, tv_nsec: 1_000_000_000 - nanos });
    }
    Some(Timespec { tv_sec: seconds, tv_nsec: nanos })
}
