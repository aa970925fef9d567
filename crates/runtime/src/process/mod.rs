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
pub(crate) mod oom;
mod park;
pub mod reaper;
mod streams;
mod task;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_model::HelperCreate;

use self::cgroup::ContainerCgroup;
pub use self::park::Parked;
use self::reaper::Reaper;
use self::streams::Terminal;
use self::task::{Gate, ProcessTask, Running, State};
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
        match self.create_init(&request, None).await {
            Ok((init, process)) => {
                Ok((ProcessTask::new(self.state(&request), cgroup, init, Gate::Libcontainer), process))
            }
            Err(error) => Err(self.undo(&cgroup, error).await),
        }
    }
}

impl ProcessIsolation {
    /// Creates a container whose init process waits for orders: everything that containers of one kind have in
    /// common. On failure nothing is left behind.
    pub async fn park(&self, request: CreateRequest) -> Result<Parked, Error> {
        let cgroup = ContainerCgroup::of_bundle(&request.bundle, &request.id)?;
        let parking = async {
            let (orders, theirs) = park::Orders::pair()?;
            let (init, process) = self.create_init(&request, Some(theirs)).await?;
            orders.parked(&self.state(&request)).await.map(|orders| (orders, init, process))
        };
        match parking.await {
            Ok((orders, init, process)) => Parked::new(self.state(&request), cgroup, init, process, orders),
            Err(error) => Err(self.undo(&cgroup, error).await),
        }
    }

    fn state(&self, request: &CreateRequest) -> State {
        State {
            oci_helper: self.oci_helper.clone(),
            root: self.state_root.clone(),
            id: request.id.clone(),
            reaper: self.reaper.clone(),
        }
    }

    async fn create_init(
        &self,
        request: &CreateRequest,
        orders: Option<OwnedFd>,
    ) -> Result<(Running, Process), Error> {
        let asked = HelperCreate {
            id: request.id.clone(),
            bundle: request.bundle.clone(),
            state_root: self.state_root.clone(),
            terminal: request.terminal,
            cache: self.cache.clone(),
            parked: orders.is_some(),
        };
        let stdio = StdioKind { terminal: request.terminal, stdin: request.stdin };
        start(&self.oci_helper, "create", &asked, stdio, orders, &self.reaper).await
    }

    /// Removes what a failed creation left, and hands its error on.
    async fn undo(&self, cgroup: &ContainerCgroup, error: Error) -> Error {
        cgroup.kill_and_remove().await.ok();
        remove_directory(&self.state_root).ok();
        error
    }
}

/// What standard streams a process gets.
#[derive(Clone, Copy)]
struct StdioKind {
    terminal: bool,
    stdin: bool,
}

/// Has the helper start a process, with a TTY or pipes; `more` is passed after them.
async fn start(
    helper: &Path,
    verb: &str,
    request: &impl serde::Serialize,
    stdio: StdioKind,
    more: Option<OwnedFd>,
    reaper: &Reaper,
) -> Result<(Running, Process), Error> {
    let failed = |source| Error::Os { doing: "standard streams", source };
    let (mut theirs, pipes) = if stdio.terminal {
        (Vec::new(), None)
    } else {
        let (theirs, ours) = streams::pipes(stdio.stdin).map_err(failed)?;
        (theirs, Some(ours))
    };
    theirs.extend(more);
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
