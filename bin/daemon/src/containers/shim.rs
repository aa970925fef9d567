//! Talking to a container's shim: starting it, the Task service and our extension over ttrpc, the stdio socket.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use cofferdam_model::{
    EXTENSION_SERVICE, IoRequest, ProcessInfo, Resources, Rewiring, TaskInfo, TaskUsage, WindowSize, bundle,
};
use command_fds::{CommandFdExt as _, FdMapping};
use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp as ProtoTimestamp;
use containerd_shim_protos::shim_async::TaskClient;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use ttrpc::context::{self, Context};

/// The descriptors that a shim inherits.
const TASK_FD: i32 = 3;
const IO_FD: i32 = 4;
/// No answer line of the stdio socket is longer.
const LONGEST_ANSWER: usize = 4096;

/// A live connection to a shim. Clones share it.
#[derive(Clone)]
pub struct Shim {
    bundle: Arc<Path>,
    id: Arc<str>,
    client: ttrpc::asynchronous::Client,
    task: TaskClient,
}

/// A shim cannot be started or spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The program.
    #[error("cannot start {program}")]
    Spawn {
        /// Which.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A socket of the bundle.
    #[error("cannot use the shim's socket {name}")]
    Socket {
        /// Which.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The shim refused; its own words.
    #[error("{0}")]
    Refused(String),
    /// The connection broke: the shim is gone.
    #[error("the shim is gone{last_words}")]
    Gone {
        /// What its log ends with.
        last_words: String,
    },
    /// An answer that is not what it should be.
    #[error("the shim's answer cannot be read")]
    Answer(#[from] serde_json::Error),
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// When.
    pub at: Timestamp,
}

/// What a shim says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskState {
    /// Its PID.
    pub pid: u32,
    /// Where it is.
    pub phase: Phase,
    /// How it ended, when it has.
    pub ended: Option<Ended>,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Made, not started; or nothing yet.
    Created,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It has ended.
    Stopped,
}

impl Shim {
    /// Starts a shim in its bundle, which holds `shim.json`, and connects to it. Both sockets exist before it runs,
    /// so that the connection succeeds at once and its first request waits for it.
    pub fn spawn(program: &Path, bundle: &Path, id: &str) -> Result<Self, ShimError> {
        let listen = |name| {
            let listener = cofferdam_sys::unix::bind(bundle, name);
            listener.map(OwnedFd::from).map_err(|source| ShimError::Socket { name, source })
        };
        let task = listen(bundle::TASK_SOCKET)?;
        let io = listen(bundle::IO_SOCKET)?;
        let failed = |source| ShimError::Spawn { program: program.to_owned(), source };
        let log = std::fs::File::create(bundle.join(bundle::SHIM_LOG)).map_err(failed)?;
        let mut command = std::process::Command::new(program);
        command.arg("--bundle").arg(bundle).current_dir(bundle);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
            .fd_mappings(vec![
                FdMapping { parent_fd: task, child_fd: TASK_FD },
                FdMapping { parent_fd: io, child_fd: IO_FD },
            ])
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let mut child = tokio::process::Command::from(command).spawn().map_err(failed)?;
        tokio::spawn(async move {
            // The shim lives as long as the container; here it is only kept from staying a zombie.
            let _ = child.wait().await;
        });
        Self::connect(bundle, id)
    }

    /// Connects to a running shim.
    pub fn connect(bundle: &Path, id: &str) -> Result<Self, ShimError> {
        let stream = connect(bundle, bundle::TASK_SOCKET)?;
        let client = ttrpc::asynchronous::Client::new(ttrpc::asynchronous::transport::Socket::new(stream));
        Ok(Self { bundle: bundle.into(), id: id.into(), task: TaskClient::new(client.clone()), client })
    }

    /// Makes the task up to the point where only its program is missing.
    pub async fn create(&self, terminal: bool) -> Result<u32, ShimError> {
        let request = api::CreateTaskRequest {
            id: self.id.to_string(),
            bundle: self.bundle.to_string_lossy().into_owned(),
            terminal,
            ..api::CreateTaskRequest::default()
        };
        Ok(self.checked(self.task.create(calling(), &request).await)?.pid)
    }

    /// Lets a process run; an empty exec ID is the container's own.
    pub async fn start(&self, exec_id: &str) -> Result<u32, ShimError> {
        let request = api::StartRequest {
            id: self.id.to_string(),
            exec_id: exec_id.to_owned(),
            ..api::StartRequest::default()
        };
        Ok(self.checked(self.task.start(calling(), &request).await)?.pid)
    }

    /// Prepares a further process.
    pub async fn exec(
        &self,
        exec_id: &str,
        terminal: bool,
        stdin: bool,
        process: String,
    ) -> Result<(), ShimError> {
        let spec = Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
            value: process.into_bytes(),
            ..Any::default()
        };
        let request = api::ExecProcessRequest {
            id: self.id.to_string(),
            exec_id: exec_id.to_owned(),
            terminal,
            // containerd names a pipe here; for us any text says that standard input is wanted.
            stdin: if stdin { bundle::IO_SOCKET.to_owned() } else { String::new() },
            spec: Some(spec).into(),
            ..api::ExecProcessRequest::default()
        };
        self.checked(self.task.exec(calling(), &request).await).map(drop)
    }

    /// Waits until a process has ended.
    pub async fn wait(&self, exec_id: &str) -> Result<Ended, ShimError> {
        let request = api::WaitRequest {
            id: self.id.to_string(),
            exec_id: exec_id.to_owned(),
            ..api::WaitRequest::default()
        };
        let answer = self.checked(self.task.wait(calling(), &request).await)?;
        Ok(ended(answer.exit_status, answer.exited_at.as_ref()))
    }

    /// What a process does.
    pub async fn state(&self, exec_id: &str) -> Result<TaskState, ShimError> {
        let request = api::StateRequest {
            id: self.id.to_string(),
            exec_id: exec_id.to_owned(),
            ..api::StateRequest::default()
        };
        let answer = self.checked(self.task.state(calling(), &request).await)?;
        let phase = match answer.status.enum_value() {
            Ok(api::Status::RUNNING) => Phase::Running,
            Ok(api::Status::PAUSED | api::Status::PAUSING) => Phase::Paused,
            Ok(api::Status::STOPPED) => Phase::Stopped,
            _ => Phase::Created,
        };
        let ended = (phase == Phase::Stopped).then(|| ended(answer.exit_status, answer.exited_at.as_ref()));
        Ok(TaskState { pid: answer.pid, phase, ended })
    }

    /// Sends a signal.
    pub async fn kill(&self, exec_id: &str, signal: u32, all: bool) -> Result<(), ShimError> {
        let request = api::KillRequest {
            id: self.id.to_string(),
            exec_id: exec_id.to_owned(),
            signal,
            all,
            ..api::KillRequest::default()
        };
        self.checked(self.task.kill(calling(), &request).await).map(drop)
    }

    /// Freezes every process.
    pub async fn pause(&self) -> Result<(), ShimError> {
        let request = api::PauseRequest { id: self.id.to_string(), ..api::PauseRequest::default() };
        self.checked(self.task.pause(calling(), &request).await).map(drop)
    }

    /// Thaws them.
    pub async fn resume(&self) -> Result<(), ShimError> {
        let request = api::ResumeRequest { id: self.id.to_string(), ..api::ResumeRequest::default() };
        self.checked(self.task.resume(calling(), &request).await).map(drop)
    }

    /// Sets limits: all of them, or none.
    pub async fn limit(&self, limits: &Resources) -> Result<(), ShimError> {
        let resources = Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".to_owned(),
            value: serde_json::to_vec(limits)?,
            ..Any::default()
        };
        let request = api::UpdateTaskRequest {
            id: self.id.to_string(),
            resources: Some(resources).into(),
            ..api::UpdateTaskRequest::default()
        };
        self.checked(self.task.update(calling(), &request).await).map(drop)
    }

    /// Resizes a TTY.
    pub async fn resize(&self, exec_id: &str, size: WindowSize) -> Result<(), ShimError> {
        let request = api::ResizePtyRequest {
            id: self.id.to_string(),
            exec_id: exec_id.to_owned(),
            width: size.width.into(),
            height: size.height.into(),
            ..api::ResizePtyRequest::default()
        };
        self.checked(self.task.resize_pty(calling(), &request).await).map(drop)
    }

    /// Forgets an ended process; for the container's own, releases everything it held.
    pub async fn delete(&self, exec_id: &str) -> Result<(), ShimError> {
        let request = api::DeleteRequest {
            id: self.id.to_string(),
            exec_id: exec_id.to_owned(),
            ..api::DeleteRequest::default()
        };
        self.checked(self.task.delete(calling(), &request).await).map(drop)
    }

    /// Ends the shim. Its going away while answering is success.
    pub async fn shutdown(&self) {
        let request =
            api::ShutdownRequest { id: self.id.to_string(), now: true, ..api::ShutdownRequest::default() };
        if let Err(error) = self.checked(self.task.shutdown(calling(), &request).await) {
            tracing::debug!(id = %self.id, "shim shutdown: {error}");
        }
    }

    /// Facts beyond containerd's.
    pub async fn info(&self) -> Result<TaskInfo, ShimError> {
        self.extension("Info", ()).await
    }

    /// What the container uses.
    pub async fn usage(&self) -> Result<TaskUsage, ShimError> {
        self.extension("Usage", ()).await
    }

    /// Has the running container have these interfaces and no others.
    pub async fn rewire(&self, rewiring: &Rewiring) -> Result<(), ShimError> {
        self.extension("Rewire", rewiring).await
    }

    /// The container's processes.
    pub async fn processes(&self) -> Result<Vec<ProcessInfo>, ShimError> {
        self.extension("Processes", ()).await
    }

    /// Waits until the container's memory has run out more often than `seen`; how often.
    pub async fn oom(&self, seen: u64) -> Result<u64, ShimError> {
        self.extension("Oom", seen).await
    }

    async fn extension<T: DeserializeOwned>(
        &self,
        method: &str,
        argument: impl Serialize,
    ) -> Result<T, ShimError> {
        let request = ttrpc::proto::Request {
            service: EXTENSION_SERVICE.to_owned(),
            method: method.to_owned(),
            payload: serde_json::to_vec(&argument)?,
            ..ttrpc::proto::Request::default()
        };
        let answer = self.checked(self.client.request(request).await)?;
        Ok(serde_json::from_slice(&answer.payload)?)
    }

    /// Attaches to a process's stdio.
    pub async fn attach(&self, request: &IoRequest) -> Result<UnixStream, ShimError> {
        let broken = |source| ShimError::Socket { name: bundle::IO_SOCKET, source };
        let mut stream = connect(&self.bundle, bundle::IO_SOCKET)?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await.map_err(broken)?;
        // Byte by byte: what follows the line is the process's output.
        let mut answer = Vec::new();
        loop {
            match stream.read_u8().await.map_err(broken)? {
                b'\n' => break,
                byte if answer.len() < LONGEST_ANSWER => answer.push(byte),
                _ => break,
            }
        }
        if answer.is_empty() {
            Ok(stream)
        } else {
            Err(ShimError::Refused(String::from_utf8_lossy(&answer).into_owned()))
        }
    }

    fn checked<T>(&self, answer: ttrpc::Result<T>) -> Result<T, ShimError> {
        answer.map_err(|error| match error {
            ttrpc::Error::RpcStatus(status) => ShimError::Refused(status.message),
            // Everything else is the connection's.
            _ => ShimError::Gone { last_words: last_words(&self.bundle) },
        })
    }
}

fn connect(bundle: &Path, name: &'static str) -> Result<UnixStream, ShimError> {
    let stream = cofferdam_sys::unix::connect(bundle, name).and_then(|stream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    });
    stream.map_err(|source| ShimError::Socket { name, source })
}

/// A call without a deadline: a shim that is alive answers, and one that dies breaks the connection.
fn calling() -> Context {
    context::with_timeout(0)
}

fn ended(code: u32, at: Option<&ProtoTimestamp>) -> Ended {
    let at = at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok()).unwrap_or_else(Timestamp::now);
    Ended { code: i32::try_from(code).unwrap_or(255), at }
}

/// The end of a shim's log, for an error message.
fn last_words(bundle: &Path) -> String {
    let log = std::fs::read(bundle.join(bundle::SHIM_LOG)).unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!(": {}", lines.into_iter().rev().collect::<Vec<_>>().join("; "))
    }
}
