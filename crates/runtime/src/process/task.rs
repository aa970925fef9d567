//! A container of the process level.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cofferdam_model::{
    ChangedFile, HelperExec, InterfaceConfig, ProcessInfo, Resources, TaskInfo, TaskUsage, Usage, WindowSize,
};
use cofferdam_sys::process::ProcessHandle;
use cofferdam_sys::trace::marks;

use super::cgroup::ContainerCgroup;
use super::oom::Ooms;
use super::reaper::{Exited, Reaper};
use super::streams::Terminal;
use super::{StdioKind, park, remove_directory, start};
use crate::{Error, ExecRequest, Exit, Process, Task};

/// libcontainer's socket in the container's state directory: who connects and closes it lets the init process go on.
const NOTIFY_SOCKET: &str = "notify.sock";

/// Where a container's runtime state is.
pub(super) struct State {
    pub oci_helper: PathBuf,
    pub root: PathBuf,
    pub id: String,
    pub reaper: Reaper,
}

/// A process of the container that has not been forgotten.
#[derive(Clone)]
pub(super) struct Running {
    pub pid: i32,
    pub exited: Exited,
    pub terminal: Option<Terminal>,
}

pub(super) struct ProcessTask {
    state: State,
    cgroup: Arc<ContainerCgroup>,
    init: Running,
    gate: Gate,
    execs: Mutex<HashMap<String, Running>>,
    ooms: Arc<Ooms>,
}

/// What holds the init process back until the start.
pub(super) enum Gate {
    /// libcontainer's socket.
    Libcontainer,
    /// The stream on which it got its orders.
    Park(UnixStream),
}

/// Lets the init process pass libcontainer's gate.
pub(super) fn open_gate(state: &State) -> Result<(), Error> {
    let directory = state.root.join(&state.id);
    let opened = cofferdam_sys::unix::connect(&directory, NOTIFY_SOCKET)
        .and_then(|mut socket| socket.write_all(b"start container"));
    opened.map_err(not_started)
}

fn not_started(source: io::Error) -> Error {
    // A killed init process has closed its socket, though its exit may not have been collected yet.
    if matches!(source.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::BrokenPipe) {
        return Error::Finished;
    }
    Error::Os { doing: "starting the container", source }
}

impl ProcessTask {
    pub(super) fn new(state: State, cgroup: ContainerCgroup, init: Running, gate: Gate) -> Arc<Self> {
        let cgroup = Arc::new(cgroup);
        if !cgroup.ends_with_init() {
            // Without a PID namespace of their own nothing ends the others when the init process ends.
            let (exited, left) = (init.exited.clone(), Arc::clone(&cgroup));
            tokio::spawn(async move {
                exited.wait().await;
                if let Err(error) = left.kill_all().await {
                    tracing::warn!(%error, "processes of the ended container");
                }
            });
        }
        let ooms = Arc::new(Ooms::none());
        if let Some(watched) = cgroup.watch_oom() {
            let (ooms, exited) = (Arc::clone(&ooms), init.exited.clone());
            tokio::spawn(async move { ooms.follow(watched, exited).await });
        }
        Arc::new(Self { state, cgroup, init, gate, execs: Mutex::default(), ooms })
    }

    fn execs(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self, exec_id: &str) -> Result<Running, Error> {
        if exec_id.is_empty() {
            return Ok(self.init.clone());
        }
        self.execs().get(exec_id).cloned().ok_or_else(|| Error::NoSuchProcess(exec_id.to_owned()))
    }

    fn is_live(&self) -> Result<(), Error> {
        if self.init.exited.now().is_some() { Err(Error::Finished) } else { Ok(()) }
    }
}

#[async_trait]
impl Task for ProcessTask {
    async fn start(&self) -> Result<(), Error> {
        self.is_live()?;
        match &self.gate {
            Gate::Libcontainer => open_gate(&self.state),
            Gate::Park(stream) => park::go(stream).map_err(not_started),
        }
    }

    async fn exec(&self, request: ExecRequest) -> Result<Process, Error> {
        self.is_live()?;
        let asked = HelperExec {
            init: self.init.pid,
            state_root: self.state.root.clone(),
            process: request.process,
            terminal: request.terminal,
        };
        let (running, process) = start(
            &self.state.oci_helper,
            "exec",
            &asked,
            StdioKind { terminal: request.terminal, stdin: request.stdin },
            None,
            &self.state.reaper,
        )
        .await?;
        self.execs().insert(request.exec_id, running);
        Ok(process)
    }

    async fn signal(&self, exec_id: &str, signal: i32, all: bool) -> Result<(), Error> {
        let doing = |source| Error::Os { doing: "sending a signal", source };
        let process = self.process(exec_id)?;
        if all {
            self.cgroup.signal_all(signal).map_err(doing)?;
        } else {
            if process.exited.now().is_some() {
                return Err(Error::Finished);
            }
            // The PID is still ours: only this process's reaper could let it go, and it has not.
            let sent = ProcessHandle::open(process.pid).and_then(|handle| handle.signal(signal));
            sent.map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound { Error::Finished } else { doing(error) }
            })?;
        }
        if signal == nix::libc::SIGKILL && (all || exec_id.is_empty()) {
            // A frozen process on cgroup v1 dies only when it is thawed.
            self.cgroup.thaw().map_err(doing)?;
        }
        Ok(())
    }

    async fn resize(&self, exec_id: &str, size: WindowSize) -> Result<(), Error> {
        let doing = |source| Error::Os { doing: "resizing the terminal", source };
        match self.process(exec_id)?.terminal {
            Some(terminal) => terminal.resize(size).map_err(doing),
            None => Err(doing(io::Error::other("the process has no terminal"))),
        }
    }

    async fn pause(&self) -> Result<(), Error> {
        self.is_live()?;
        self.cgroup.freeze().await.map_err(|source| Error::Os { doing: "pausing the container", source })
    }

    async fn resume(&self) -> Result<(), Error> {
        self.is_live()?;
        self.cgroup.thaw().map_err(|source| Error::Os { doing: "unpausing the container", source })
    }

    async fn limit(&self, limits: &Resources) -> Result<(), Error> {
        self.is_live()?;
        self.cgroup.limit(limits).await
    }

    async fn processes(&self) -> Result<Vec<ProcessInfo>, Error> {
        let pids = self.cgroup.pids().map_err(|source| Error::Os { doing: "listing processes", source })?;
        Ok(cofferdam_sys::procfs::processes(&pids))
    }

    async fn usage(&self) -> Result<TaskUsage, Error> {
        let usage =
            self.cgroup.usage().map_err(|source| Error::Os { doing: "counting what it uses", source })?;
        let interfaces = cofferdam_sys::procfs::interfaces(self.init.pid);
        Ok(TaskUsage { container: Usage { interfaces, ..usage }, vm: None })
    }

    async fn oom(&self, seen: u64) -> Result<u64, Error> {
        tokio::select! {
            count = self.ooms.after(seen) => count,
            _ = self.init.exited.wait() => Err(Error::Finished),
        }
    }

    /// Its shim has made them already.
    async fn rewire(&self, _: Vec<InterfaceConfig>, _: Vec<ChangedFile>) -> Result<(), Error> {
        Ok(())
    }

    async fn wait(&self, exec_id: &str) -> Result<Exit, Error> {
        let exited = self.process(exec_id)?.exited;
        Ok(exited.wait().await)
    }

    async fn forget(&self, exec_id: &str) -> Result<(), Error> {
        let mut execs = self.execs();
        match execs.get(exec_id) {
            None => Err(Error::NoSuchProcess(exec_id.to_owned())),
            Some(running) if running.exited.now().is_none() => Err(Error::Os {
                doing: "forgetting a process",
                source: io::Error::other(format!("exec {exec_id:?} is still running")),
            }),
            Some(_) => {
                execs.remove(exec_id);
                Ok(())
            }
        }
    }

    fn host_pid(&self) -> i32 {
        self.init.pid
    }

    async fn info(&self) -> TaskInfo {
        TaskInfo { oom_killed: self.cgroup.oom_killed(), marks: marks(), ..TaskInfo::default() }
    }

    async fn delete(&self) -> Result<(), Error> {
        self.cgroup
            .kill_and_remove()
            .await
            .map_err(|source| Error::Os { doing: "removing the container's cgroups", source })?;
        let root = &self.state.root;
        remove_directory(root).map_err(|source| Error::Path { path: root.clone(), source })
    }
}
