//! What one layer may cost.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::archive::{Entry, Kind};

/// Deepest nesting of directories, after symlinks were followed: bounded so that removing a tree with one open
/// directory a level stays within every limit on open files.
pub(super) const MAX_DEPTH: usize = 256;
/// A sparse file smaller than this costs nothing when its holes are filled.
pub(super) const SPARSE_MATTERS: u64 = 1 << 20;
const MAX_ENTRIES: u64 = 4_000_000;
const MAX_DEVICES: u64 = 4096;
/// Bytes of directory names remembered until their times are set.
const MAX_REMEMBERED: usize = 256 << 20;
/// Padding behind the archive: tar pads to 10 KiB, some writers to more.
const MAX_TRAILING: u64 = 64 << 20;
/// Disk space left for everybody else, checked each [`CHECK_EVERY`] bytes.
const RESERVE: u64 = 32 << 20;
const CHECK_EVERY: u64 = 64 << 20;

/// Counts what is spent.
pub(super) struct Budget {
    target: PathBuf,
    entries: u64,
    devices: u64,
    remembered: usize,
    unchecked: u64,
}

impl Budget {
    pub(super) fn new(target: &Path) -> Self {
        // The first bytes are checked too.
        Self { target: target.to_owned(), entries: 0, devices: 0, remembered: 0, unchecked: CHECK_EVERY }
    }

    pub(super) fn count_entry(&mut self, entry: &Entry) -> Result<(), Error> {
        self.entries += 1;
        self.devices += u64::from(matches!(entry.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. }));
        if self.entries > MAX_ENTRIES {
            return Err(Error::entry(&entry.name, format!("more than {MAX_ENTRIES} entries")));
        }
        if self.devices > MAX_DEVICES {
            return Err(Error::entry(&entry.name, format!("more than {MAX_DEVICES} device nodes")));
        }
        Ok(())
    }

    pub(super) fn remember(&mut self, path: &[u8]) -> Result<(), Error> {
        self.remembered += path.len() + 64;
        if self.remembered > MAX_REMEMBERED {
            return Err(Error::entry(path, "too many directories"));
        }
        Ok(())
    }

    /// Counts bytes about to be written; refuses them before the disk is full to the last byte.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        self.unchecked += bytes as u64;
        if self.unchecked < CHECK_EVERY {
            return Ok(());
        }
        self.unchecked = 0;
        match rustix::fs::statvfs(&self.target) {
            Ok(stat)
                if stat.f_bavail.saturating_mul(stat.f_frsize)
                    < RESERVE.min(stat.f_blocks * stat.f_frsize / 20) =>
            {
                Err(Error::NoSpace(self.target.clone()))
            }
            _ => Ok(()),
        }
    }
}

/// Reads what follows the archive's end, so that the whole stream is hashed.
pub(super) fn drain(stream: &mut impl Read) -> Result<(), Error> {
    let read = io::copy(&mut stream.take(MAX_TRAILING + 1), &mut io::sink()).map_err(|error| match error
        .kind()
    {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Error::Archive(error.to_string())
        }
        _ => Error::Stream(error),
    })?;
    if read > MAX_TRAILING {
        return Err(Error::Archive("data behind the end of the archive".into()));
    }
    Ok(())
}
