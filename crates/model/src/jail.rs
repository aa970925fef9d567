//! What a shim asks of the helpers beside a VM: the jail of the hypervisor process and the share server.
//!
//! Both are started with a connected Unix stream as standard input. First the descriptors come over it
//! (`sys::unix::send_fds`), then one line of JSON, a [`JailSpec`], [`ShareSpec`] or [`crate::FreezeSpec`]. The answers are [`JailReply`]s,
//! one line of JSON each. When the shim's end closes, for whatever reason, the helper ends what it started.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Frozen, FrozenParts};

/// A hypervisor process to run in a jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailSpec {
    /// The program and its arguments. `{fd:N}` becomes the number of the N-th descriptor passed; the last
    /// descriptor becomes standard error.
    pub command: Vec<String>,
    /// An existing directory, on which the jail's root is mounted (in the jail's own mount namespace only).
    pub root: PathBuf,
    /// Files that the program may read: host path and path in the jail, beside the system's programs and libraries.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// The file that holds a guest's memory, if one does.
    pub memory: Option<GuestMemory>,
    /// A frozen process to be, instead of the program: `command` is then only what its command line shows.
    pub thaw: Option<Frozen>,
    /// Whether it may use `/dev/kvm`.
    pub kvm: bool,
    /// Its user and group ID, never 0.
    pub uid: u32,
    /// The most threads it may have.
    pub threads: u64,
    /// The control group to join, which exists.
    pub cgroup: String,
    /// The jail's hostname.
    pub hostname: String,
}

/// A file that holds a guest's memory; the jail has it as [`GuestMemory::INSIDE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestMemory {
    /// The host's path.
    pub path: PathBuf,
    /// Whether the hypervisor writes it, as it does for a VM that will be saved. For a clone it must not: the file is
    /// every clone's.
    pub writable: bool,
}

impl GuestMemory {
    /// The path in the jail.
    pub const INSIDE: &str = "/guest/memory";
}

/// Directories and files to serve to one VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareSpec {
    /// An existing directory, on which the shares' root is mounted (in the server's own mount namespace only).
    pub root: PathBuf,
    /// What to serve: the N-th as `/N`.
    pub shares: Vec<Share>,
}

/// One bind mount's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// A directory or file of the host.
    pub source: PathBuf,
    /// Whether the guest may only read.
    pub read_only: bool,
}

/// What a helper reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JailReply {
    /// It runs.
    Started {
        /// Its PID on the host.
        pid: i32,
    },
    /// It is frozen.
    Frozen(FrozenParts),
    /// It could not be started; nothing runs.
    Failed {
        /// Why.
        message: String,
    },
    /// It has ended.
    Ended {
        /// How, for the user: `exit status 1`, `signal 9`.
        status: String,
    },
}
