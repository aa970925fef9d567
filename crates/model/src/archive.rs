//! What a shim's helper does with a container's files instead of running a program in it. The order travels in the
//! process object of an exec, under a key of its own that no client's request reaches: so it takes every way that an exec
//! takes, into a VM, too.

use serde::{Deserialize, Serialize};

/// The key in the process object.
const KEY: &str = "cofferdamArchive";

/// Exit codes of a helper that could not, beside 1.
pub mod archive_exit {
    /// There is no such path.
    pub const NOT_FOUND: u8 = 44;
    /// The place to extract to is no directory.
    pub const NOT_A_DIRECTORY: u8 = 45;
    /// The place cannot be written.
    pub const READ_ONLY: u8 = 43;
    /// The archive or the request is wrong.
    pub const INVALID: u8 = 40;
}

/// What to do. Output is standard output; why it failed is on standard error, and in the exit code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveOrder {
    /// Says what a path is: an [`ArchiveStat`] in one line of JSON.
    Stat {
        /// In the container.
        path: String,
    },
    /// The same line, then the path's content as tar.
    Read {
        /// In the container.
        path: String,
    },
    /// Extracts the tar on standard input.
    Write {
        /// The directory in the container.
        path: String,
        /// Whether files and directories do not replace each other.
        keep_kinds: bool,
        /// The owner and group of everything; else the archive's.
        owner: Option<(u32, u32)>,
    },
    /// The root file system as tar.
    Export,
    /// The [`Change`]s in a guest's overlay, as JSON.
    Changes {
        /// Paths that do not count.
        ignored: Vec<String>,
    },
    /// A guest's overlay's upper directory as an OCI layer.
    Layer {
        /// Paths that are left out.
        ignored: Vec<String>,
    },
    /// The same as it is, for [`Self::Restore`].
    Tree,
    /// Puts such a tree from standard input in the upper directory's place.
    Restore {
        /// The most bytes of content.
        bytes: u64,
        /// The most files.
        entries: u64,
    },
    /// The upper directory's digest, as JSON.
    Digest,
}

impl ArchiveOrder {
    /// Whether it is about a guest's overlay, seen from outside of the container.
    #[must_use]
    pub fn is_about_overlay(&self) -> bool {
        matches!(
            self,
            Self::Changes { .. } | Self::Layer { .. } | Self::Tree | Self::Restore { .. } | Self::Digest
        )
    }
}

impl ArchiveOrder {
    /// A process object that carries the order.
    #[must_use]
    pub fn to_process(&self) -> String {
        // The rest is what an exec's process object must have.
        serde_json::json!({ KEY: self, "cwd": "/", "args": ["archive"], "user": { "uid": 0, "gid": 0 } })
            .to_string()
    }

    /// The order in a process object, if it carries one.
    #[must_use]
    pub fn of(process: &str) -> Option<Self> {
        let mut process: serde_json::Value = serde_json::from_str(process).ok()?;
        serde_json::from_value(process.get_mut(KEY)?.take()).ok()
    }
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveStat {
    /// The last name.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode`.
    pub mode: u32,
    /// The modification's time, seconds of Unix time.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanos: u32,
    /// Where a link leads in the end.
    pub link_target: String,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Which, absolute.
    pub path: String,
}

/// How a path has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is another.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_travel_in_a_key_of_their_own() {
        let order = ArchiveOrder::Stat { path: "/x".to_owned() };
        assert_eq!(ArchiveOrder::of(&order.to_process()), Some(order));
        assert_eq!(ArchiveOrder::of(r#"{"args":["cofferdamArchive"],"env":["cofferdamArchive=1"]}"#), None);
    }
}
