//! The container and its processes, from `Create` to `Delete`.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_log::Log;
use cofferdam_model::{
    ArchiveOrder, Isolation as Level, ProcessInfo, Resources, Rewiring, ShimSpec, TaskInfo, TaskUsage,
    WindowSize,
};
use cofferdam_net::Wiring;
use cofferdam_runtime::process::ProcessIsolation;
use cofferdam_runtime::process::reaper::Reaper;
use cofferdam_runtime::vm::VmIsolation;
use cofferdam_runtime::{CreateRequest, Error, ExecRequest, Exit, Isolation, Task};
use cofferdam_sys::trace::mark;
use tokio::sync::Notify;

use crate::hub::Hub;
use crate::process::{Phase, Process, now};
use crate::setup::{Setup, network_failed};

/// The runtime's state, in the bundle.
const STATE: &str = "oci";
/// What containers share, in the directory above `containers/<id>/`.
const CACHE: &str = "seccomp";

const SIGKILL: i32 = 9;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such container or process.
    #[error("{0}")]
    NotFound(String),
    /// It exists already.
    #[error("{0} already exists")]
    AlreadyExists(String),
    /// Not in this state.
    #[error("{0}")]
    Precondition(String),
    /// What happened before the runtime started.
    #[error("{0}")]
    Setup(String),
    /// The runtime refused.
    #[error(transparent)]
    Runtime(#[from] Error),
}

/// The shim's one container.
pub struct Container {
    /// What the daemon asked for.
    pub spec: ShimSpec,
    /// The bundle.
    pub directory: PathBuf,
    isolation: Mutex<Option<Result<Arc<dyn Isolation>, String>>>,
    task: Mutex<Option<Arc<dyn Task>>>,
    processes: Mutex<HashMap<String, Arc<Process>>>,
    paused: AtomicBool,
    shutdown: Notify,
    /// Its interfaces; `None` in networks that are somebody else's.
    wiring: tokio::sync::Mutex<Option<Wiring>>,
}

/// A process as `State` shows it.
pub struct Status {
    /// Its PID on the host; 0 before there is one.
    pub pid: i32,
    /// Where it is.
    pub phase: Phase,
    /// Whether the container is frozen.
    pub paused: bool,
    /// Whether it has a TTY.
    pub terminal: bool,
    /// How it ended.
    pub exit: Option<Exit>,
}

impl Container {
    /// The container that is to be created, with the outcome of what was done before.
    pub fn new(
        spec: ShimSpec,
        directory: PathBuf,
        setup: Result<Setup, String>,
        reaper: Reaper,
    ) -> Arc<Self> {
        let (log, setup) = match Log::open(&spec.log) {
            Ok(log) => (log, setup),
            Err(error) => (None, Err(format!("{}: {error}", spec.log.path.display()))),
        };
        let (isolation, wiring) = match setup {
            Ok(setup) => (Ok(isolation(&spec, &directory, setup.tap, reaper)), setup.wiring),
            Err(error) => (Err(error), None),
        };
        let terminal = spec.terminal;
        // The init process's stdio exists from the start: clients may attach before `Create`.
        let hub = Hub::new(terminal, spec.stdin_once, log);
        let init = Process::new(String::new(), terminal, hub, None, spec.open_stdin);
        Arc::new(Self {
            spec,
            directory,
            isolation: Mutex::new(Some(isolation)),
            task: Mutex::default(),
            processes: Mutex::new(HashMap::from([(String::new(), init)])),
            paused: AtomicBool::new(false),
            shutdown: Notify::new(),
            wiring: tokio::sync::Mutex::new(wiring),
        })
    }

    /// The stdio of a process.
    pub fn hub(&self, exec_id: &str) -> Option<Arc<Hub>> {
        lock(&self.processes).get(exec_id).map(|process| Arc::clone(&process.hub))
    }

    fn process(&self, exec_id: &str) -> Result<Arc<Process>, Refusal> {
        let missing = || Refusal::NotFound(format!("no such process: exec {exec_id:?}"));
        lock(&self.processes).get(exec_id).cloned().ok_or_else(missing)
    }

    fn task(&self) -> Result<Arc<dyn Task>, Refusal> {
        let task = lock(&self.task).clone();
        task.ok_or_else(|| Refusal::NotFound(format!("container {} is not created", self.spec.id)))
    }

    /// Creates the container; its init process waits for [`Self::start`].
    pub async fn create(&self) -> Result<i32, Refusal> {
        mark("create asked for");
        let isolation = lock(&self.isolation).take();
        let isolation =
            isolation.ok_or_else(|| Refusal::AlreadyExists(format!("container {}", self.spec.id)))?;
        let init = self.process("")?;
        match self.create_task(isolation, &init).await {
            Ok(task) => {
                mark("created");
                *lock(&self.task) = Some(Arc::clone(&task));
                init.follow(Arc::clone(&task));
                Ok(task.host_pid())
            }
            Err(refusal) => {
                init.hub.end();
                Err(refusal)
            }
        }
    }

    async fn create_task(
        &self,
        isolation: Result<Arc<dyn Isolation>, String>,
        init: &Process,
    ) -> Result<Arc<dyn Task>, Refusal> {
        let request = CreateRequest {
            id: self.spec.id.to_string(),
            bundle: self.directory.clone(),
            terminal: init.terminal,
            stdin: init.stdin,
        };
        let (task, process) = isolation.map_err(Refusal::Setup)?.create(request).await?;
        init.hub.connect(process.stdio);
        Ok(task)
    }

    /// Lets the init process run its program, or starts an exec.
    pub async fn start(&self, exec_id: &str) -> Result<i32, Refusal> {
        let task = self.task()?;
        let process = self.process(exec_id)?;
        if !process.begin() {
            return Err(Refusal::Precondition(format!("process {exec_id:?} was started already")));
        }
        match Self::run(&task, &process).await {
            Ok(pid) => {
                process.started();
                Ok(pid)
            }
            Err(error) => {
                if !exec_id.is_empty() {
                    let code = if let Error::Exec { code, .. } = error { code.into() } else { 255 };
                    process.hub.end();
                    process.ended(Exit { code, at_nanos: now() });
                }
                Err(error.into())
            }
        }
    }

    async fn run(task: &Arc<dyn Task>, process: &Arc<Process>) -> Result<i32, Error> {
        let Some(program) = process.program.clone() else {
            task.start().await?;
            mark("program runs");
            return Ok(task.host_pid());
        };
        let request = ExecRequest {
            exec_id: process.exec_id.clone(),
            process: program,
            terminal: process.terminal,
            // Clients attach before `Start`: without one that gives input, nobody ever will.
            stdin: process.stdin || process.hub.has_input(),
        };
        let started = task.exec(request).await?;
        process.hub.connect(started.stdio);
        process.follow(Arc::clone(task));
        process.set_pid(started.pid);
        Ok(started.pid)
    }

    /// Registers a further process.
    pub fn exec(&self, exec_id: &str, program: String, terminal: bool, stdin: bool) -> Result<(), Refusal> {
        self.task()?;
        let init = self.process("")?;
        if exec_id.is_empty() {
            return Err(Refusal::AlreadyExists("the init process".to_owned()));
        }
        // Files are looked at before the program runs, too, and while it is frozen.
        let archive = ArchiveOrder::of(&program).is_some();
        if init.phase() != Phase::Running && !(archive && init.phase() == Phase::New) {
            return Err(Refusal::Precondition(format!("container {} is not running", self.spec.id)));
        }
        if self.paused.load(Ordering::Relaxed) && !archive {
            // It would be born frozen.
            return Err(Refusal::Precondition(format!(
                "container {} is paused, unpause it before exec",
                self.spec.id
            )));
        }
        let mut processes = lock(&self.processes);
        if processes.contains_key(exec_id) {
            return Err(Refusal::AlreadyExists(format!("exec {exec_id}")));
        }
        let hub = Hub::new(terminal, true, None);
        let process = Process::new(exec_id.to_owned(), terminal, hub, Some(program), stdin);
        processes.insert(exec_id.to_owned(), process);
        Ok(())
    }

    /// Where a process is.
    pub fn status(&self, exec_id: &str) -> Result<Status, Refusal> {
        let task = self.task()?;
        let process = self.process(exec_id)?;
        Ok(Status {
            pid: if exec_id.is_empty() { task.host_pid() } else { process.pid() },
            phase: process.phase(),
            paused: self.paused.load(Ordering::Relaxed),
            terminal: process.terminal,
            exit: process.exit(),
        })
    }

    /// Waits for the end of a process.
    pub async fn wait(&self, exec_id: &str) -> Result<Exit, Refusal> {
        self.task()?;
        let gone = || Refusal::NotFound(format!("no such process: exec {exec_id:?}"));
        self.process(exec_id)?.wait().await.ok_or_else(gone)
    }

    /// Sends a signal.
    pub async fn kill(&self, exec_id: &str, signal: i32, all: bool) -> Result<(), Refusal> {
        let task = self.task()?;
        let process = self.process(exec_id)?;
        if !exec_id.is_empty() && process.phase() == Phase::New {
            return Err(Refusal::Precondition(format!("exec {exec_id} is not started")));
        }
        match task.signal(exec_id, signal, all).await {
            Err(Error::Finished) => return Err(Refusal::NotFound(Error::Finished.to_string())),
            result => result?,
        }
        if signal == SIGKILL && (all || exec_id.is_empty()) {
            // The runtime thaws what it kills.
            self.paused.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Resizes a TTY.
    pub async fn resize(&self, exec_id: &str, size: WindowSize) -> Result<(), Refusal> {
        Ok(self.task()?.resize(exec_id, size).await?)
    }

    /// Closes a process's standard input.
    pub async fn close_input(&self, exec_id: &str) -> Result<(), Refusal> {
        self.process(exec_id)?.hub.close_input().await;
        Ok(())
    }

    /// Freezes the container, or lets it run again.
    pub async fn set_paused(&self, paused: bool) -> Result<(), Refusal> {
        let task = self.task()?;
        if paused {
            task.pause().await?
        } else {
            task.resume().await?
        }
        self.paused.store(paused, Ordering::Relaxed);
        Ok(())
    }

    /// Sets limits.
    pub async fn limit(&self, limits: &Resources) -> Result<(), Refusal> {
        Ok(self.task()?.limit(limits).await?)
    }

    /// Waits until its memory has run out more often than `seen`; how often.
    pub async fn oom(&self, seen: u64) -> Result<u64, Refusal> {
        Ok(self.task()?.oom(seen).await?)
    }

    /// What the container uses.
    pub async fn usage(&self) -> Result<TaskUsage, Refusal> {
        Ok(self.task()?.usage().await?)
    }

    /// The container's processes.
    pub async fn processes(&self) -> Result<Vec<ProcessInfo>, Refusal> {
        Ok(self.task()?.processes().await?)
    }

    /// Has these interfaces and no others from now on. Tried again after an error, it goes on from what is there.
    pub async fn rewire(&self, asked: Rewiring) -> Result<(), Refusal> {
        let task = self.task()?;
        let mut wiring = self.wiring.lock().await;
        let wiring = wiring.as_mut().ok_or_else(|| {
            Refusal::Precondition(format!("container {} has no interfaces of its own", self.spec.id))
        })?;
        wiring.set(&asked.interfaces).map_err(|error| Refusal::Setup(network_failed(&error)))?;
        let interfaces = asked.interfaces.into_iter().map(|interface| interface.config).collect();
        Ok(task.rewire(interfaces, asked.files).await?)
    }

    /// Facts beyond `State`.
    pub async fn info(&self) -> Result<TaskInfo, Refusal> {
        Ok(self.task()?.info().await)
    }

    /// Forgets an ended process; for the init process, takes the container apart. Says how it ended.
    pub async fn delete(&self, exec_id: &str) -> Result<(i32, Exit), Refusal> {
        let task = self.task()?;
        let process = self.process(exec_id)?;
        if matches!(process.phase(), Phase::Starting | Phase::Running) {
            let what = if exec_id.is_empty() {
                format!("container {}", self.spec.id)
            } else {
                format!("exec {exec_id}")
            };
            return Err(Refusal::Precondition(format!("{what} is still running")));
        }
        let pid = if exec_id.is_empty() { task.host_pid() } else { process.pid() };
        if exec_id.is_empty() {
            task.delete().await?;
            // A container that was never started ends by this.
            let exit = process.wait().await;
            *lock(&self.task) = None;
            return Ok((pid, exit.unwrap_or(Exit { code: 255, at_nanos: now() })));
        }
        lock(&self.processes).remove(exec_id);
        process.hub.end();
        if process.pid() != 0 {
            task.forget(exec_id).await?;
        }
        Ok((pid, process.exit().unwrap_or(Exit { code: 0, at_nanos: now() })))
    }

    /// Ends the shim. Before `Delete` only by force, which kills the container.
    pub async fn request_shutdown(&self, now: bool) -> Result<(), Refusal> {
        if let Ok(task) = self.task() {
            if !now {
                return Err(Refusal::Precondition(format!("container {} is not deleted", self.spec.id)));
            }
            task.delete().await?;
        }
        self.shutdown.notify_one();
        Ok(())
    }

    /// Waits for [`Self::request_shutdown`].
    pub async fn shut_down(&self) {
        self.shutdown.notified().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn isolation(spec: &ShimSpec, directory: &Path, tap: Option<OwnedFd>, reaper: Reaper) -> Arc<dyn Isolation> {
    match spec.isolation {
        Level::Process => Arc::new(ProcessIsolation {
            oci_helper: spec.oci_helper.clone(),
            state_root: directory.join(STATE),
            cache: directory.ancestors().nth(2).map(|exec_root| exec_root.join(CACHE)),
            reaper,
        }),
        Level::Hyperv => Arc::new(VmIsolation::new(spec.clone(), tap)),
    }
}
