//! What can go wrong while running a container.

use std::path::PathBuf;

use cofferdam_sys::cgroup::CgroupError;

/// A runtime operation failed. Messages reach the user: they name the thing.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No process of that exec ID (empty: the init process).
    #[error("no such process: exec {0:?}")]
    NoSuchProcess(String),
    /// The process has ended already.
    #[error("process already finished")]
    Finished,
    /// The OCI helper refused; its own words.
    #[error("{0}")]
    Helper(String),
    /// The program to run does not exist in the container or cannot be executed. Docker's exit code for it is 127
    /// (not found) or 126 (not executable).
    #[error("{message}")]
    Exec {
        /// The runtime's words, Docker-style.
        message: String,
        /// 126 or 127.
        code: u8,
    },
    /// The hypervisor did not start or ended early; with its last words.
    #[error("{0}")]
    Hypervisor(String),
    /// The guest's agent did not answer, or broke the protocol.
    #[error("guest agent: {0}")]
    Agent(String),
    /// A limit that cannot be set.
    #[error("{0}")]
    Limit(String),
    /// A file or directory.
    #[error("{path}: {source}")]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything of the kernel's.
    #[error("{doing}: {source}")]
    Os {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl From<CgroupError> for RuntimeError {
    fn from(error: CgroupError) -> Self {
        Self::Limit(match error {
            CgroupError::File { path, source } => format!("control group file {}: {source}", path.display()),
            error => error.to_string(),
        })
    }
}
