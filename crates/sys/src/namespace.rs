//! Namespaces: leaving, joining and holding them.
//!
//! The calls here change the calling thread only. A process that uses them has no other thread yet.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sched::CloneFlags;

/// The kinds of namespaces that this project unshares and joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Mounts.
    Mount,
    /// Network.
    Network,
    /// PIDs; takes effect for children.
    Pid,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host name.
    Uts,
    /// Cgroup root.
    Cgroup,
}

impl Namespace {
    fn flag(self) -> CloneFlags {
        match self {
            Self::Mount => CloneFlags::CLONE_NEWNS,
            Self::Network => CloneFlags::CLONE_NEWNET,
            Self::Pid => CloneFlags::CLONE_NEWPID,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
            Self::Cgroup => CloneFlags::CLONE_NEWCGROUP,
        }
    }

    /// The file's name in `/proc/<pid>/ns`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Network => "net",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
        }
    }
}

/// Moves the calling thread into new namespaces of these kinds.
pub fn unshare(kinds: &[Namespace]) -> io::Result<()> {
    let flags = kinds.iter().fold(CloneFlags::empty(), |flags, kind| flags | kind.flag());
    Ok(nix::sched::unshare(flags)?)
}

/// A handle of the calling thread's namespace of this kind. The namespace lives as long as the handle.
pub fn current(kind: Namespace) -> io::Result<OwnedFd> {
    open(Path::new("/proc/thread-self/ns"), kind)
}

/// A handle of a process's namespace of this kind.
pub fn of_process(pid: i32, kind: Namespace) -> io::Result<OwnedFd> {
    open(Path::new(&format!("/proc/{pid}/ns")), kind)
}

fn open(directory: &Path, kind: Namespace) -> io::Result<OwnedFd> {
    Ok(File::open(directory.join(kind.name()))?.into())
}

/// Moves the calling thread into the namespace that the handle names.
pub fn join(handle: impl AsFd, kind: Namespace) -> io::Result<()> {
    Ok(nix::sched::setns(handle, kind.flag())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_of_every_kind_opens() {
        for kind in [Namespace::Mount, Namespace::Network, Namespace::Pid, Namespace::Ipc, Namespace::Uts] {
            current(kind).unwrap();
        }
        let me = i32::try_from(std::process::id()).unwrap();
        of_process(me, Namespace::Network).unwrap();
    }
}
