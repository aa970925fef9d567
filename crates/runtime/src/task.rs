//! The two traits and what passes through them.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_model::{
    ChangedFile, InterfaceConfig, ProcessInfo, Resources, TaskInfo, TaskUsage, WindowSize,
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Error;

/// An isolation level: how a container comes to be.
#[async_trait]
pub trait Isolation: Send + Sync {
    /// Creates the container up to the point where only its own program is missing, as OCI's `create`.
    /// On failure nothing is left behind.
    async fn create(&self, request: CreateRequest) -> Result<(Arc<dyn Task>, Process), Error>;
}

/// What to create.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// The container's ID.
    pub id: String,
    /// The directory of `config.json`; its `root.path` is mounted already.
    pub bundle: PathBuf,
    /// Whether the init process has a TTY.
    pub terminal: bool,
    /// Whether standard input is a pipe (else `/dev/null`); a TTY always has input.
    pub stdin: bool,
}

/// A further process in a running container.
#[derive(Clone, Debug)]
pub struct ExecRequest {
    /// Unique in the container, never empty.
    pub exec_id: String,
    /// An OCI runtime `process` object in JSON.
    pub process: String,
    /// Whether it has a TTY.
    pub terminal: bool,
    /// Whether standard input is a pipe.
    pub stdin: bool,
}

/// A process of a container, with its stdio. Dropping the stdio closes it, as closing a pipe does.
pub struct Process {
    /// Its PID as this kernel counts (a guest's PID for a process in a VM).
    pub pid: i32,
    /// Its standard streams.
    pub stdio: Stdio,
}

/// Standard streams. With a TTY `stdout` carries everything and `stderr` is `None`.
pub struct Stdio {
    /// Towards the process.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// From the process.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// From the process.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code, or 128 plus the signal.
    pub code: i32,
    /// When, as Unix time in nanoseconds (by the host's clock).
    pub at_nanos: i64,
}

/// A created container. Every method may be called at any time from any task; an empty exec ID is the init process.
#[async_trait]
pub trait Task: Send + Sync {
    /// Lets the init process run its program.
    async fn start(&self) -> Result<(), Error>;
    /// Starts a further process.
    async fn exec(&self, request: ExecRequest) -> Result<Process, Error>;
    /// Sends a signal to one process, or (`all`) to every process of the container.
    async fn signal(&self, exec_id: &str, signal: i32, all: bool) -> Result<(), Error>;
    /// Resizes a TTY.
    async fn resize(&self, exec_id: &str, size: WindowSize) -> Result<(), Error>;
    /// Freezes every process.
    async fn pause(&self) -> Result<(), Error>;
    /// Thaws them.
    async fn resume(&self) -> Result<(), Error>;
    /// Sets limits, whether it runs, is frozen or waits for its start: all of them, or none.
    async fn limit(&self, limits: &Resources) -> Result<(), Error>;
    /// The container's processes, for `top`.
    async fn processes(&self) -> Result<Vec<ProcessInfo>, Error>;
    /// What it uses, for `stats`.
    async fn usage(&self) -> Result<TaskUsage, Error>;
    /// Waits until memory has run out more often than `seen`; how often it has. An error when the container has ended.
    async fn oom(&self, seen: u64) -> Result<u64, Error>;
    /// Tells whoever has interfaces of its own, a guest, what they are now, and the files that name them.
    async fn rewire(&self, interfaces: Vec<InterfaceConfig>, files: Vec<ChangedFile>) -> Result<(), Error>;
    /// Waits until the process has ended; answers at once when it has.
    async fn wait(&self, exec_id: &str) -> Result<Exit, Error>;
    /// Forgets an ended exec.
    async fn forget(&self, exec_id: &str) -> Result<(), Error>;
    /// The PID of the init process on the host, which `inspect` shows: at the hyperv level the VM worker's.
    fn host_pid(&self) -> i32;
    /// Facts beyond containerd's `State`.
    async fn info(&self) -> TaskInfo;
    /// Ends whatever still runs and releases everything. Idempotent.
    async fn delete(&self) -> Result<(), Error>;
}
