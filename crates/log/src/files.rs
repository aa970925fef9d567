//! A log's file and the older ones beside it: `log`, `log.1`, `log.2`, …, the higher the older; compressed ones end in
//! `.gz`. Names change while others read, so whoever changes or opens them holds a lock on their directory, which the
//! kernel takes from whoever dies.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use rustix::fs::{FlockOperation, Mode, OFlags};

/// Names are changed in microseconds: whoever holds the lock for longer is stopped, and does not change any.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What stays of a file when it is renamed or compressed, while somebody holds it open: its inode's number, which a
/// compressed one carries in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(pub(crate) u64);

impl Identity {
    /// Whether a file with this inode is the one, which somebody holds open.
    #[must_use]
    pub fn is_inode(self, number: u64) -> bool {
        self.0 == number
    }
}

/// An open file of a log.
#[derive(Debug)]
pub struct Source {
    /// The file, at its begin.
    pub file: File,
    /// Whether it is compressed.
    pub compressed: bool,
    /// Which it is.
    pub identity: Identity,
}

/// A log's files.
#[derive(Clone, Debug)]
pub struct Files {
    path: PathBuf,
}

/// The forms in which an older file may be there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Older {
    /// As it was written; it counts when both are there, for then a compression was interrupted.
    pub(crate) plain: bool,
    /// Compressed.
    pub(crate) compressed: bool,
}

/// The lock; gone when dropped.
pub(crate) struct Lock(#[expect(dead_code, reason = "it is held")] Option<OwnedFd>);

impl Files {
    /// The log in this file.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file that is written to.
    #[must_use]
    pub fn current(&self) -> &Path {
        &self.path
    }

    fn with(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    pub(crate) fn plain(&self, number: u32) -> PathBuf {
        self.with(&format!(".{number}"))
    }

    pub(crate) fn compressed(&self, number: u32) -> PathBuf {
        self.with(&format!(".{number}.gz"))
    }

    /// Where a file is compressed to, before it gets its name.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.with(".gz.tmp")
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The older files, by number.
    pub(crate) fn older(&self) -> io::Result<BTreeMap<u32, Older>> {
        let mut found: BTreeMap<u32, Older> = BTreeMap::new();
        let name = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        for entry in std::fs::read_dir(self.directory())? {
            let entry = entry?.file_name();
            let Some(rest) = entry.as_encoded_bytes().strip_prefix(name) else { continue };
            let Some(rest) = rest.strip_prefix(b".").and_then(|rest| std::str::from_utf8(rest).ok()) else {
                continue;
            };
            let (number, compressed) = match rest.strip_suffix(".gz") {
                Some(number) => (number, true),
                None => (rest, false),
            };
            // Only as we write them: `01` is somebody else's.
            let Some(number) = number.parse::<u32>().ok().filter(|n| *n > 0 && n.to_string() == number)
            else {
                continue;
            };
            let older = found.entry(number).or_default();
            if compressed {
                older.compressed = true;
            } else {
                older.plain = true;
            }
        }
        Ok(found)
    }

    /// The lock, if nobody holds it.
    pub(crate) fn try_lock(&self, operation: FlockOperation) -> io::Result<Option<Lock>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(self.directory(), flags, Mode::empty())?;
        match rustix::fs::flock(&directory, operation) {
            Ok(()) => Ok(Some(Lock(Some(directory)))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The lock, waited for; after a while, none. Blocking.
    pub(crate) fn lock(&self, operation: FlockOperation) -> io::Result<Lock> {
        let deadline = Instant::now() + LONGEST_WAIT;
        loop {
            if let Some(lock) = self.try_lock(operation)? {
                return Ok(lock);
            }
            if Instant::now() > deadline {
                return Ok(Lock(None));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Opens every file, the oldest first; `after` one of them, only those that are newer. Blocking.
    pub fn open(&self, after: Option<Identity>) -> io::Result<Vec<Source>> {
        let _lock = match self.lock(FlockOperation::NonBlockingLockShared) {
            Ok(lock) => lock,
            // Never written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut newest_first = vec![(self.path.clone(), false)];
        newest_first.extend(self.older()?.into_iter().map(|(number, older)| match older.plain {
            true => (self.plain(number), false),
            false => (self.compressed(number), true),
        }));
        let mut sources = Vec::new();
        for (path, compressed) in newest_first {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let identity =
                if compressed { identity_inside(&file)? } else { Identity(file.metadata()?.ino()) };
            if Some(identity) == after {
                break;
            }
            sources.push(Source { file, compressed, identity });
        }
        sources.reverse();
        Ok(sources)
    }

    /// Makes the current file the newest of the older ones, at most `keep` in all, and opens a new one. `None` when
    /// somebody holds the lock: then later.
    pub(crate) fn rotate(&self, keep: u32) -> io::Result<Option<File>> {
        let Some(_lock) = self.try_lock(FlockOperation::NonBlockingLockExclusive)? else { return Ok(None) };
        // What a rotation that was interrupted has renamed already is not renamed again.
        if self.path.exists() {
            if keep <= 1 {
                std::fs::remove_file(&self.path)?;
            } else {
                self.make_room(keep - 1)?;
                std::fs::rename(&self.path, self.plain(1))?;
            }
        }
        open_to_append(&self.path).map(Some)
    }

    /// Renames older files so that there is no `.1`, and no more than `most` afterwards.
    fn make_room(&self, most: u32) -> io::Result<()> {
        let older = self.older()?;
        // Where a number is free, nothing has to be removed.
        let free = (1..=most).find(|number| !older.contains_key(number));
        let (up_to, too_old) = free.map_or((most, most), |free| (free, most + 1));
        for number in older.range(too_old..).map(|(number, _)| *number) {
            remove(&self.plain(number))?;
            remove(&self.compressed(number))?;
        }
        for (&number, form) in older.range(..up_to).rev() {
            if form.compressed {
                std::fs::rename(self.compressed(number), self.compressed(number + 1))?;
            }
            if form.plain {
                std::fs::rename(self.plain(number), self.plain(number + 1))?;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The file, made if it is not there.
pub(crate) fn open_to_append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).read(true).mode(0o640).open(path)
}

/// What the compressed file was before. One without a readable header is no known one.
fn identity_inside(file: &File) -> io::Result<Identity> {
    use std::io::{Read as _, Seek as _};

    let mut decoder = GzDecoder::new(file);
    // The header is read with the first byte.
    let _ = decoder.read(&mut [0]);
    let comment = decoder.header().and_then(|header| header.comment()).unwrap_or_default();
    let number = std::str::from_utf8(comment).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    (&*file).rewind()?;
    Ok(Identity(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }

    fn read(files: &Files, after: Option<Identity>) -> Vec<String> {
        let sources = files.open(after).unwrap();
        sources.into_iter().map(|source| io::read_to_string(source.file).unwrap()).collect()
    }

    #[test]
    fn files_move_up_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::at(directory.path().join("log"));
        for number in 0..5 {
            write(files.current(), &number.to_string());
            assert!(files.rotate(3).unwrap().is_some());
        }
        assert_eq!(read(&files, None), ["3", "4", ""]);
        let second = files.open(None).unwrap()[1].identity;
        write(files.current(), "5");
        files.rotate(3).unwrap();
        write(files.current(), "6");
        assert_eq!(read(&files, Some(second)), ["5", "6"]);
        assert_eq!(read(&files, Some(Identity(0))), ["4", "5", "6"]);
    }

    #[test]
    fn an_interrupted_rotation_is_no_loss() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::at(directory.path().join("log"));
        // Room was made, and then somebody died.
        write(files.current(), "new");
        write(&files.plain(2), "old");
        files.rotate(3).unwrap();
        assert_eq!(read(&files, None), ["old", "new", ""]);
        // The current file was renamed, and then somebody died.
        std::fs::remove_file(files.current()).unwrap();
        files.rotate(3).unwrap();
        assert_eq!(read(&files, None), ["old", "new", ""]);
    }

    #[test]
    fn one_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::at(directory.path().join("log"));
        write(files.current(), "old");
        let held = files.open(None).unwrap().remove(0);
        files.rotate(1).unwrap();
        assert_eq!(read(&files, None), [""]);
        assert_eq!(read(&files, Some(held.identity)), [""]);
    }

    #[test]
    fn a_reader_holds_a_rotation_up_and_strangers_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::at(directory.path().join("log"));
        for name in ["log", "log.01", "log.x", "log.2.zip", "logs.3"] {
            write(&directory.path().join(name), name);
        }
        let lock = files.lock(FlockOperation::NonBlockingLockShared).unwrap();
        assert!(files.rotate(2).unwrap().is_none());
        drop(lock);
        assert!(files.rotate(2).unwrap().is_some());
        assert_eq!(files.older().unwrap().keys().copied().collect::<Vec<_>>(), [1]);
        assert!(directory.path().join("logs.3").exists());
    }
}
