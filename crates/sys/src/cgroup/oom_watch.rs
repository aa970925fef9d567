//! Being told when memory runs out in a group.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{CgroupError, at, keyed, read_optional, write};

/// Readable when memory runs out; [`Self::kills`] tells what came of it.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    /// The file that counts.
    path: PathBuf,
    /// How many processes had been killed.
    seen: u64,
}

impl OomWatch {
    /// Version 1: the kernel counts an eventfd up.
    pub(super) fn v1(directory: &Path) -> Result<Self, CgroupError> {
        let path = directory.join("memory.oom_control");
        let watched = File::open(&path).map_err(at(&path))?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let counter = EventFd::from_flags(flags).map_err(|errno| at(&path)(errno.into()))?;
        let order = format!("{} {}", counter.as_raw_fd(), watched.as_raw_fd());
        write(&directory.join("cgroup.event_control"), &order)?;
        Ok(Self { fd: counter.into(), path, seen: 0 })
    }

    /// Version 2: the file of events is changed.
    pub(super) fn v2(directory: &Path) -> Result<Self, CgroupError> {
        let path = directory.join("memory.events");
        let watch = || -> nix::Result<Inotify> {
            let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            watch.add_watch(&path, AddWatchFlags::IN_MODIFY)?;
            Ok(watch)
        };
        let fd = watch().map_err(|errno| at(&path)(errno.into()))?.into();
        Ok(Self { fd, path, seen: 0 })
    }

    /// Takes what there is to read. `false` when there was nothing.
    pub fn drain(&self) -> bool {
        let mut bytes = [0; 4096];
        matches!(rustix::io::read(&self.fd, &mut bytes), Ok(1..))
    }

    /// How many processes were killed since the last time. Version 1 tells that memory has run out a moment before it
    /// kills, and tells of the group's removal, too.
    pub fn kills(&mut self) -> u64 {
        let text = read_optional(&self.path).ok().flatten().unwrap_or_default();
        let now = keyed(&text, "oom_kill").max(self.seen);
        now - std::mem::replace(&mut self.seen, now)
    }
}

impl AsRawFd for OomWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
