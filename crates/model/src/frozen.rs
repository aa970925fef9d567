//! A frozen process: a VM worker process on disk, which goes on as many processes (`cofferdam-oci freeze`, and a
//! [`crate::JailSpec`] with [`Frozen`]).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a process is thawed from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The description of its memory and threads.
    pub process: PathBuf,
    /// Its private pages.
    pub pages: PathBuf,
    /// The guest's memory.
    pub memory: PathBuf,
    /// Its open files by number.
    pub files: Vec<(i32, FrozenFile)>,
}

/// An open file of a frozen process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenFile {
    /// One that was passed to it: which, and whether it does not block.
    Passed(usize, bool),
    /// The file of the guest's memory.
    Memory,
    /// `/dev/null`
    Null,
    /// An event counter (eventfd(2)) with this value.
    Event(u64),
    /// A list of files to wait for (epoll(7)) that is empty.
    Poll,
    /// A receiver of these signals (signalfd(2)), bit N-1 being signal N.
    Signals(u64),
}

/// The request to `cofferdam-oci freeze`, to which two files are passed, empty and writable: for the description, and for
/// the pages. The process must be at rest; it goes on when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeSpec {
    /// The process.
    pub pid: i32,
    /// The files that were passed to it, by device and inode.
    pub passed: Vec<(u64, u64)>,
}

/// What is to be known of a frozen process beside its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenParts {
    /// Its open files by number.
    pub files: Vec<(i32, FrozenFile)>,
    /// The programs and libraries that it has mapped.
    pub libraries: Vec<PathBuf>,
}

/// What is recorded about a frozen process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FrozenRecord {
    /// The boot of the host on which it was frozen: on no other it can be thawed.
    pub host: String,
    /// The programs and libraries that it had mapped.
    pub libraries: Vec<PathBuf>,
    /// What changes when one of those is replaced.
    pub identity: String,
    /// Its open files.
    pub files: Vec<(i32, FrozenFile)>,
}
