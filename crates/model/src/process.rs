//! Processes as `top` and TTYs see them.

use serde::{Deserialize, Serialize};

/// One process of a container, read from `/proc` of the kernel it runs on (proc(5), `stat` and `status`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// PID: on the host at the process level, in the guest at the hyperv level.
    pub pid: i32,
    /// PID inside the container's PID namespace (last number of `NSpid`).
    pub inner_pid: i32,
    /// Parent's PID.
    pub ppid: i32,
    /// Effective user ID.
    pub uid: u32,
    /// State letter.
    pub state: char,
    /// Controlling terminal (`pts/0`), or `?`.
    pub tty: String,
    /// User plus system time in milliseconds.
    pub cpu_ms: u64,
    /// Start as Unix time in seconds.
    pub started: i64,
    /// Virtual size in bytes.
    pub vsize: u64,
    /// Resident set in bytes.
    pub rss: u64,
    /// Nice value.
    pub nice: i32,
    /// Threads.
    pub threads: i32,
    /// The short name (`comm`).
    pub name: String,
    /// The command line, arguments joined by spaces; `[name]` when it has none.
    pub command: String,
}

/// A TTY's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}
