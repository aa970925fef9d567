//! Running containers: one trait for an isolation level, one for what runs under it.
//!
//! [`Isolation`] creates, [`Task`] is a created container. `process` runs it on the kernel it is called on (the
//! host's in a shim, the guest's in the agent); `vm` runs it in a utility VM whose agent uses `process` in turn, so
//! users, capabilities, seccomp, rlimits and masked paths mean the same at both levels.
//!
//! The caller (shim or agent) prepares the root file system and the network first and owns stdio pumping and logs;
//! this crate owns processes: their creation, signals, exit and the resources that hold them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod process;
mod task;
pub mod vm;

pub use error::RuntimeError as Error;
pub use task::{CreateRequest, ExecRequest, Exit, Isolation, Process, Stdio, Task};
