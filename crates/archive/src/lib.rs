//! Files of a container in and out as tar, and what changed in it: behind `docker cp`, `export` and `diff`.
//!
//! [`stat()`], [`read`], [`write`] and [`export`] work on this process's own root directory: whoever calls them has entered
//! the container's mount namespace, so that no path and no link leads anywhere else. What is in there is hostile, and so
//! is an archive that comes in: nothing is opened that is not a regular file or a directory, and no entry's name goes up.
//!
//! [`changes()`], [`layer()`] and [`restore`] work on an overlay's upper directory, from outside of the container: they
//! open one name after the other below a handle, and follow no link.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod changes;
mod layer;
mod read;
mod restore;
mod stat;
mod write;

use std::io;
use std::path::Path;

pub use changes::changes;
pub use layer::{Form, TreeDigest, digest, layer};
pub use read::{export, read};
pub use restore::{Bounds, restore};
pub use stat::stat;
pub use write::{Options, write};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no such file.
    #[error("{0}: no such file or directory")]
    NotFound(String),
    /// The place to extract to is not a directory.
    #[error("extraction point is not a directory")]
    NotADirectory,
    /// The archive, or what it wants to do.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be written there.
    #[error("{0}: read-only file system")]
    ReadOnly(String),
    /// Anything else.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
}

impl Failure {
    /// What happened with this path.
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let name = path.display().to_string();
        move |error| match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound(name),
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(name),
            _ => Self::Io(name, error),
        }
    }

    /// The exit code of a helper process that failed this way.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::NotFound(_) => cofferdam_model::archive_exit::NOT_FOUND,
            Self::NotADirectory => cofferdam_model::archive_exit::NOT_A_DIRECTORY,
            Self::Invalid(_) => cofferdam_model::archive_exit::INVALID,
            Self::ReadOnly(_) => cofferdam_model::archive_exit::READ_ONLY,
            Self::Io(..) => 1,
        }
    }
}
