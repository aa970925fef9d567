//! What a shim or a guest agent asks of `cofferdam-oci`, and its answer.
//!
//! Both travel as JSON over one connected Unix stream, which is the helper's standard input: the request up to
//! end-of-file with the process's standard streams attached as file descriptors (`SCM_RIGHTS`), then the answer up
//! to end-of-file, with the TTY's master attached when there is one.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Docker's `PATH`, for a program whose environment names none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `cofferdam-oci create`: makes a container up to the point where only its own program is missing.
/// Without a TTY three descriptors come with it: standard input, output and error. One more follows when the container
/// is to be parked: a connected Unix stream (see [`Orders`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperCreate {
    /// The container.
    pub id: String,
    /// The directory of `config.json`.
    pub bundle: PathBuf,
    /// Where the runtime's state goes, in a directory named after the container.
    pub state_root: PathBuf,
    /// Whether the init process has a TTY.
    pub terminal: bool,
    /// A directory, shared by containers, where compiled seccomp profiles are kept.
    pub cache: Option<PathBuf>,
    /// Whether the init process waits for [`Orders`] instead of running the specification's program.
    pub parked: bool,
}

/// What a parked init process waits for, on the stream that it was given. Each message is one line:
///
/// ```text
/// init ── [`PARKED`] ─────────────────────► caller    everything is done that is the same for many containers
/// init ◄── Orders, in JSON ──────────────── caller
/// init ── HelperReply, in JSON ───────────► caller    the program was found; or not, and the process ends
/// init ◄── [`GO`] ───────────────────────── caller    it runs
/// ```
///
/// When the stream ends instead, so does the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<String>,
}

/// See [`Orders`].
pub const PARKED: &str = "parked";
/// See [`Orders`].
pub const GO: &str = "go";

/// `cofferdam-oci exec`: starts a further process in a container.
/// Without a TTY three descriptors come with it: standard input, output and error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperExec {
    /// The PID of the container's init process.
    pub init: i32,
    /// The `state_root` that the container was created with.
    pub state_root: PathBuf,
    /// An OCI runtime `process` object in JSON.
    pub process: String,
    /// Whether the process has a TTY.
    pub terminal: bool,
}

/// The helper's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HelperReply {
    /// The process exists and is a child of the helper's parent.
    Ready {
        /// Its PID, as the helper's parent counts.
        pid: i32,
    },
    /// Nothing was made.
    Failed {
        /// Why, in Docker's words where Docker has some.
        message: String,
        /// 126 or 127 when it is about the program to run.
        code: Option<u8>,
    },
}
