//! One daemon per root: a lock on each directory, and a PID file for those who look for one.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a predecessor may take to end.
const PATIENCE: Duration = Duration::from_millis(500);

/// Another daemon is at work, or the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Held by another daemon.
    #[error(
        "{path} is in use by another cofferdamd{holder}: give this one roots of its own (--data-root, --exec-root)"
    )]
    Held {
        /// The directory.
        path: PathBuf,
        /// ` (PID 42)`, when it is known.
        holder: String,
    },
    /// The PID file names a process that runs.
    #[error("PID file {path} names the running cofferdamd {pid}: stop it, or use another --pidfile")]
    Running {
        /// The file.
        path: PathBuf,
        /// Whose.
        pid: u32,
    },
    /// Anything of the file system's.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A directory's lock, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks the directory, which exists.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("cofferdamd.lock");
        let io = |source| LockError::Io { path: path.clone(), source };
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match lock_soon(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = std::fs::read_to_string(&path).unwrap_or_default();
                let holder = if pid.is_empty() { pid } else { format!(" (PID {})", pid.trim()) };
                return Err(LockError::Held { path: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// Tries for a moment: a daemon that was just killed may still be on its way out.
fn lock_soon(file: &File) -> Result<(), TryLockError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(20))
            }
            result => return result,
        }
    }
}

/// The PID file, removed when it is dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes it. One of a daemon that has died is replaced.
    pub fn write(path: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let pid = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
        if let Some(pid) = pid.filter(|pid| *pid != std::process::id() && is_daemon(*pid)) {
            return Err(LockError::Running { path: path.to_owned(), pid });
        }
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(io)?;
        }
        std::fs::write(path, std::process::id().to_string()).map_err(io)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether the process is one of ours: PIDs are used again, so that existence alone says nothing.
fn is_daemon(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "cofferdamd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once() {
        let root = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(root.path()).unwrap();
        let error = DirectoryLock::take(root.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("(PID {})", std::process::id())), "{error}");
        drop(first);
        DirectoryLock::take(root.path()).unwrap();
    }

    #[test]
    fn a_stale_pid_file_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sub/pid");
        std::fs::create_dir(root.path().join("sub")).unwrap();
        // PID 1 runs, but is no cofferdamd.
        std::fs::write(&path, "1").unwrap();
        let file = PidFile::write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());
    }
}
