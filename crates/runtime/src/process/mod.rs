//! The process level: namespaces and cgroups on the kernel that this code runs on, the host's in a shim and the
//! guest's in an agent.
//!
//! ```text
//! shim or agent (child subreaper) ──spawn──► cofferdam-oci (one thread) ──clone──► container init, exec'd process
//!        │ request, pipes ───────────────────────►│                                       │
//!        │◄──────────────────────── PID, TTY master│ ends                                  │
//!        │◄──────────────────────────────── exit status (reaper), output (pipes, TTY) ─────┘
//! ```
//!
//! The state that this leaves on disk is one directory, the state root, which `delete` removes; what it leaves in
//! the kernel is the container's cgroups, which go with it.

mod cgroup;
mod helper;
pub mod reaper;
mod streams;
mod task;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_model::HelperCreate;

use self::cgroup::ContainerCgroup;
use self::reaper::Reaper;
use self::streams::Terminal;
use self::task::{ProcessTask, Running, State};
use crate::{CreateRequest, Error, Isolation, Process, Task};

/// Creates containers as processes of this kernel.
pub struct ProcessIsolation {
    /// The `cofferdam-oci` helper's path.
    pub oci_helper: PathBuf,
    /// A directory for one container's runtime state. It need not exist, and is gone after `delete`.
    pub state_root: PathBuf,
    /// A directory for what containers can share: compiled seccomp profiles. `None` where there is one container.
    pub cache: Option<PathBuf>,
    /// The hosting process's reaper.
    pub reaper: Reaper,
}

#[async_trait]
impl Isolation for ProcessIsolation {
    async fn create(&self, request: CreateRequest) -> Result<(Arc<dyn Task>, Process), Error> {
        let cgroup = ContainerCgroup::of_bundle(&request.bundle, &request.id)?;
        let state = State {
            oci_helper: self.oci_helper.clone(),
            root: self.state_root.clone(),
            id: request.id.clone(),
            reaper: self.reaper.clone(),
        };
        let created = self.create_init(&request).await;
        let (init, process) = match created {
            Ok(created) => created,
            Err(error) => {
                cgroup.kill_and_remove().await.ok();
                remove_directory(&self.state_root).ok();
                return Err(error);
            }
        };
        Ok((ProcessTask::new(state, cgroup, init), process))
    }
}

impl ProcessIsolation {
    async fn create_init(&self, request: &CreateRequest) -> Result<(Running, Process), Error> {
        let asked = HelperCreate {
            id: request.id.clone(),
            bundle: request.bundle.clone(),
            state_root: self.state_root.clone(),
            terminal: request.terminal,
            cache: self.cache.clone(),
        };
        start(&self.oci_helper, "create", &asked, request.terminal, request.stdin, &self.reaper).await
    }
}

/// Has the helper start a process, with a TTY or pipes.
async fn start(
    helper: &Path,
    verb: &str,
    request: &impl serde::Serialize,
    terminal: bool,
    stdin: bool,
    reaper: &Reaper,
) -> Result<(Running, Process), Error> {
    let failed = |source| Error::Os { doing: "standard streams", source };
    let (theirs, pipes) = if terminal {
        (Vec::new(), None)
    } else {
        let (theirs, ours) = streams::pipes(stdin).map_err(failed)?;
        (theirs, Some(ours))
    };
    let started = helper::ask(helper, verb, request, theirs, reaper).await?;
    let terminal = started.master.map(Terminal::new).transpose().map_err(failed)?;
    let stdio = match (&terminal, pipes) {
        (Some(terminal), _) => terminal.stdio(),
        (None, Some(pipes)) => pipes,
        (None, None) => return Err(Error::Helper("the OCI helper sent no terminal".to_owned())),
    };
    let running = Running { pid: started.pid, exited: started.exited, terminal };
    Ok((running, Process { pid: started.pid, stdio }))
}

/// Removes a directory with everything in it; that it does not exist is fine.
fn remove_directory(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
