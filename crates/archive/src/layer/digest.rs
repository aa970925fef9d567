//! A tree's digest: every name, kind, owner, mode, time of modification, extended attribute, target, content and which
//! names are one file. Where a file has holes does not count, for file systems differ in that: content is taken in
//! sectors, and those of zeroes count nothing. It finds what was lost on the way, and is no protection from forgery.

use std::fmt;
use std::io::{self, Read};

use rustix::fs::{FileType, Stat};
use xxhash_rust::xxh3::Xxh3Default;

/// No file system has smaller blocks.
pub(super) const SECTOR: u64 = 512;

/// Of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TreeDigest(u128);

impl fmt::Display for TreeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TreeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A tree being read, in the order of its names.
#[derive(Default)]
pub(super) struct Hasher {
    state: Box<Xxh3Default>,
    /// The beginning of a sector that has not come to its end, and where it is.
    partial: Vec<u8>,
    at: u64,
}

impl Hasher {
    /// What there is under a name, with what is special to its kind.
    pub(super) fn entry(&mut self, name: &[u8], stat: &Stat, special: &[u8], xattrs: &[(String, Vec<u8>)]) {
        self.flush();
        self.field(b"entry");
        self.field(name);
        let kind = FileType::from_raw_mode(stat.st_mode);
        let device = matches!(kind, FileType::BlockDevice | FileType::CharacterDevice);
        self.number(stat.st_mode.into());
        self.number(stat.st_uid.into());
        self.number(stat.st_gid.into());
        self.number(if device { stat.st_rdev } else { 0 });
        self.number(stat.st_mtime.cast_unsigned());
        self.number(stat.st_mtime_nsec);
        self.field(special);
        for (name, value) in xattrs {
            self.field(name.as_bytes());
            self.field(value);
        }
    }

    /// A further name of what has been read, or a mark.
    pub(super) fn link(&mut self, name: &[u8], first: &[u8]) {
        self.flush();
        self.field(b"link");
        self.field(name);
        self.field(first);
    }

    /// A piece of a file's content, in order. After a hole it begins with a sector.
    pub(super) fn content(&mut self, mut at: u64, mut bytes: &[u8]) {
        if self.at + self.partial.len() as u64 != at {
            self.flush();
        }
        while !bytes.is_empty() {
            if self.partial.is_empty() {
                self.at = at;
            }
            let room = SECTOR as usize - self.partial.len();
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            if part.len() == SECTOR as usize {
                self.sector(at, part);
            } else {
                self.partial.extend_from_slice(part);
                if part.len() == room {
                    self.flush();
                }
            }
            at += part.len() as u64;
            bytes = rest;
        }
    }

    pub(super) fn finish(mut self) -> TreeDigest {
        self.flush();
        TreeDigest(self.state.digest128())
    }

    fn flush(&mut self) {
        let partial = std::mem::take(&mut self.partial);
        self.sector(self.at, &partial);
        self.partial = partial;
        self.partial.clear();
    }

    fn sector(&mut self, at: u64, content: &[u8]) {
        if content.iter().any(|byte| *byte != 0) {
            self.state.update(&at.to_le_bytes());
            self.state.update(content);
        }
    }

    fn field(&mut self, value: &[u8]) {
        self.state.update(&(value.len() as u64).to_le_bytes());
        self.state.update(value);
    }

    fn number(&mut self, value: u64) {
        self.state.update(&value.to_le_bytes());
    }
}

/// A stream that is taken into the digest as it is read.
pub(super) struct Hashed<'a, R> {
    hasher: &'a mut Hasher,
    at: u64,
    inner: R,
}

impl<'a, R> Hashed<'a, R> {
    pub(super) fn new(hasher: &'a mut Hasher, inner: R) -> Self {
        Self { hasher, at: 0, inner }
    }
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.content(self.at, &buffer[..count]);
        self.at += count as u64;
        Ok(count)
    }
}
