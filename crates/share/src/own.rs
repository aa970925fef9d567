//! This process's own descriptors as files, by which a descriptor that only stands for a file (`O_PATH`) is opened.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

/// Where they are.
const PATH: &str = "/proc/self/fd";

/// `/proc/self/fd`. Opened while there is a `/proc`; no path leads there once the root is another.
#[derive(Debug)]
pub struct OwnFiles(OwnedFd);

impl OwnFiles {
    /// As a mount of its own, for which it takes `CAP_SYS_ADMIN`: nothing else of `/proc` can be reached from there, so
    /// that whoever takes this process over does not have the host's settings in his hands.
    pub fn alone() -> Result<Self, Errno> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        rustix::mount::open_tree(CWD, PATH, flags).map(Self)
    }

    /// As it is, for a server without a jail.
    pub fn open() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(PATH, flags, Mode::empty()).map(Self)
    }

    /// Makes it the working directory, as extended attributes have no calls that take a directory: what [`name`] says
    /// then names a descriptor's file. No name of a guest's is ever looked for there.
    pub(crate) fn enter(&self) -> Result<(), Errno> {
        rustix::process::fchdir(&self.0)
    }
}

/// A descriptor's file as a path in the working directory: a link that the kernel follows to that file and no further.
pub fn name(fd: impl AsFd) -> CString {
    CString::new(fd.as_fd().as_raw_fd().to_string()).unwrap_or_default()
}

/// Opens a descriptor's file again.
pub fn reopen(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, name(fd), flags | OFlags::CLOEXEC, Mode::empty())
}
