//! Programs executed in a running container.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use cofferdam_model::{IoRequest, Isolation, State, WindowSize};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::attach::{self, Left};
use super::bundle::DataDirs;
use super::config::Config;
use super::detach::Watcher;
use super::layers::Layers;
use super::shim::Shim;
use super::spec::{HostFacts, process};
use super::{Container, image, users};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult, chain};
use crate::server::Duplex;

/// How long an ended exec can still be inspected, as Docker has it.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// Its output has ended; this much later its exit code is known, or something is wrong.
const END_KNOWN: Duration = Duration::from_secs(5);

/// The body of `POST /containers/{id}/exec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecRequest {
    /// Whether standard input is given.
    pub attach_stdin: bool,
    /// Whether standard output is wanted.
    pub attach_stdout: bool,
    /// Whether standard error is wanted.
    pub attach_stderr: bool,
    /// The keys that leave.
    pub detach_keys: String,
    /// Whether it has a TTY.
    pub tty: bool,
    /// Variables beside the container's.
    pub env: Vec<String>,
    /// The program with its arguments.
    pub cmd: Vec<String>,
    /// Whether it holds every capability.
    pub privileged: bool,
    /// Who runs it; empty for the container's user.
    pub user: String,
    /// Its directory; empty for the container's.
    pub working_dir: String,
    /// The client's console, height and width.
    pub console_size: Option<[u16; 2]>,
}

/// A program executed in a container.
pub struct Exec {
    /// Its ID, 64 hexadecimal digits.
    pub id: String,
    request: ExecRequest,
    keys: Vec<u8>,
    state: watch::Sender<ExecState>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ExecState {
    begun: bool,
    running: bool,
    pid: u32,
    exit_code: Option<i32>,
    ended: Option<Instant>,
}

impl Exec {
    fn state(&self) -> ExecState {
        *self.state.borrow()
    }

    fn change(&self, change: impl FnOnce(&mut ExecState)) {
        self.state.send_modify(change);
    }

    /// Whether it has a TTY.
    pub fn tty(&self) -> bool {
        self.request.tty
    }

    /// Its exit code, once it has ended.
    pub(super) fn exit_code(&self) -> Option<i32> {
        self.state().exit_code
    }

    /// Waits until its end is known.
    pub(super) async fn ended(&self) {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| state.ended.is_some());
        let _ = tokio::time::timeout(END_KNOWN, ended).await;
    }

    fn words(&self) -> String {
        self.request.cmd.join(" ")
    }
}

fn check_state(container: &Container) -> ApiResult<Shim> {
    let status = container.status();
    if status.state == State::Paused {
        return Err(ApiError::conflict(format!(
            "container {} is paused, unpause the container before exec",
            container.id
        )));
    }
    if status.restarting {
        return Err(ApiError::conflict(format!(
            "Container {} is restarting, wait until the container is running",
            container.id
        )));
    }
    container.running_shim()
}

/// Prepares a program; its ID.
pub fn create(engine: &Shared, container: &Container, request: ExecRequest) -> ApiResult<String> {
    check_state(container)?;
    if request.cmd.is_empty() || request.cmd[0].is_empty() {
        return Err(ApiError::bad_request("no exec command specified"));
    }
    if !request.working_dir.is_empty() && !request.working_dir.starts_with('/') {
        return Err(ApiError::bad_request(format!(
            "OCI runtime exec failed: exec failed: Cwd must be an absolute path: {}",
            request.working_dir
        )));
    }
    let keys = attach::parse_keys(Some(request.detach_keys.as_str()).filter(|keys| !keys.is_empty()))?;
    let id = cofferdam_model::random_hex(32);
    let exec = Arc::new(Exec { id: id.clone(), request, keys, state: watch::Sender::default() });
    engine.events.publish(container.event(format!("exec_create: {}", exec.words())).with("execID", &id));
    let mut execs = container.execs.lock().unwrap_or_else(PoisonError::into_inner);
    execs.retain(|_, exec| exec.state().ended.is_none_or(|ended| ended.elapsed() < KEPT));
    execs.insert(id.clone(), exec);
    Ok(id)
}

/// The exec and its container.
pub fn find(engine: &Shared, id: &str) -> ApiResult<(Arc<Container>, Arc<Exec>)> {
    for container in engine.containers.all() {
        let execs = container.execs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exec) = execs.get(id).cloned() {
            drop(execs);
            return Ok((container, exec));
        }
    }
    Err(ApiError::not_found(format!("No such exec instance: {id}")))
}

/// A start that has begun.
pub struct Starting {
    engine: Shared,
    container: Arc<Container>,
    exec: Arc<Exec>,
    shim: Shim,
}

impl Starting {
    /// Begins; an exec starts once only.
    pub fn begin(engine: &Shared, container: Arc<Container>, exec: Arc<Exec>) -> ApiResult<Self> {
        let shim = check_state(&container)?;
        let mut fresh = false;
        exec.change(|state| {
            fresh = !state.begun;
            state.begun = true;
        });
        if !fresh {
            return Err(ApiError::conflict(format!("Error: Exec command {} has already run", exec.id)));
        }
        Ok(Self { engine: Arc::clone(engine), container, exec, shim })
    }

    /// Runs it without a client.
    pub async fn detached(self) -> ApiResult<()> {
        self.start(false, None).await.map(drop)
    }

    /// Runs it for the daemon itself: its output, in frames.
    pub(super) async fn attached(&self) -> ApiResult<UnixStream> {
        let stream = self.start(true, None).await?;
        stream.ok_or_else(|| ApiError::internal("an exec without a stream"))
    }

    /// Sends it a signal.
    pub(super) async fn signal(&self, signal: u32) -> Result<(), super::shim::ShimError> {
        self.shim.kill(&self.exec.id, signal, false).await
    }

    /// Runs it for a client, who is told when it cannot be run. `size` is the client's console.
    pub async fn serve(self, mut client: Pin<Box<dyn Duplex>>, size: Option<WindowSize>) {
        match self.start(true, size).await {
            Ok(Some(stream)) => {
                let request = &self.exec.request;
                let watcher = request.tty.then(|| Watcher::new(self.exec.keys.clone()));
                let settled = self.exec.ended();
                if attach::join(client, stream, request.attach_stdin, watcher, settled).await
                    == Left::Detached
                {
                    let event = self.container.event("exec_detach").with("execID", &self.exec.id);
                    self.engine.events.publish(event);
                }
            }
            Ok(None) => {}
            Err(error) => {
                // Docker's way: the connection is the program's by now, so the client reads it as output.
                let text = format!("{}\r\n", error.message);
                let bytes = if self.exec.request.tty {
                    text.into_bytes()
                } else {
                    cofferdam_api::stdcopy::encode(cofferdam_api::stdcopy::Stream::Stdout, text.as_bytes())
                };
                let _ = client.write_all(&bytes).await;
                let _ = client.shutdown().await;
            }
        }
    }

    async fn start(&self, attach: bool, size: Option<WindowSize>) -> ApiResult<Option<UnixStream>> {
        match self.try_start(attach, size).await {
            Ok(stream) => Ok(stream),
            Err(error) => {
                let code = exit_code(&error.message);
                self.exec.change(|state| {
                    state.exit_code = Some(code);
                    state.ended = Some(Instant::now());
                });
                Err(error)
            }
        }
    }

    async fn try_start(&self, attach: bool, size: Option<WindowSize>) -> ApiResult<Option<UnixStream>> {
        let Self { engine, container, exec, shim } = self;
        let (id, request) = (exec.id.as_str(), &exec.request);
        let failed = |error: super::shim::ShimError| {
            ApiError::bad_request(format!("OCI runtime exec failed: exec failed: {}", chain(&error)))
        };
        let process = self.process().await?;
        shim.exec(id, request.tty, attach && request.attach_stdin, process).await.map_err(failed)?;
        let started = async {
            let stream = if attach {
                let wanted = IoRequest {
                    exec_id: id.to_owned(),
                    stdin: request.attach_stdin,
                    stdout: request.attach_stdout,
                    stderr: request.attach_stderr,
                };
                Some(shim.attach(&wanted).await?)
            } else {
                None
            };
            let pid = shim.start(id).await?;
            Ok((stream, pid))
        };
        let (stream, pid) = match started.await {
            Ok(started) => started,
            Err(error) => {
                // It must not stay half-made in the shim.
                let _ = shim.delete(id).await;
                return Err(failed(error));
            }
        };
        exec.change(|state| {
            state.running = true;
            state.pid = pid;
        });
        engine.events.publish(container.event(format!("exec_start: {}", exec.words())).with("execID", id));
        let console = size.or(request.console_size.map(|[height, width]| WindowSize { height, width }));
        if let Some(size) = console.filter(|size| request.tty && size.height > 0 && size.width > 0)
            && let Err(error) = shim.resize(id, size).await
        {
            tracing::debug!("cannot size a new exec's TTY: {}", chain(&error));
        }
        tokio::spawn(hear_of_end(engine.clone(), Arc::clone(container), Arc::clone(exec), shim.clone()));
        Ok(stream)
    }

    /// The OCI process object.
    async fn process(&self) -> ApiResult<String> {
        let (engine, container, exec) =
            (Arc::clone(&self.engine), Arc::clone(&self.container), Arc::clone(&self.exec));
        let record = container.record();
        let lower = image::lower_dirs(&engine, &record).await?;
        let making = tokio::task::spawn_blocking(move || {
            let failed = |error: std::io::Error| {
                ApiError::internal(format!("cannot read the container's users: {error}"))
            };
            let upper = DataDirs::of(&engine, &container).upper();
            let mut layers = Vec::with_capacity(lower.len() + 1);
            if record.isolation == Isolation::Process {
                layers.push(upper.as_path());
            }
            layers.extend(lower.iter().map(std::path::PathBuf::as_path));
            let layers = Layers::open(layers).map_err(failed)?;
            let request = &exec.request;
            let user = if request.user.is_empty() { &record.config.user } else { &request.user };
            let groups = record.host.group_add.clone().unwrap_or_default();
            let user = users::resolve(&layers, user, &groups)
                .map_err(failed)?
                .map_err(|error| ApiError::bad_request(error.to_string()))?;
            let wanted = process::Exec {
                args: &request.cmd,
                env: &request.env,
                working_dir: &request.working_dir,
                user: &user,
                tty: request.tty,
                privileged: request.privileged,
            };
            let process = process::exec(&record, &wanted, HostFacts::below(record.isolation));
            process.map(|process| process.to_string()).map_err(|error| ApiError::bad_request(chain(&error)))
        });
        making.await.map_err(|error| ApiError::internal(format!("cannot prepare the exec: {error}")))?
    }
}

/// Hears of its end.
async fn hear_of_end(engine: Shared, container: Arc<Container>, exec: Arc<Exec>, shim: Shim) {
    // A shim that is gone took the program with it.
    let code = shim.wait(&exec.id).await.map_or(137, |ended| ended.code);
    exec.change(|state| {
        state.running = false;
        state.exit_code = Some(code);
        state.ended = Some(Instant::now());
    });
    let event = container.event("exec_die").with("execID", &exec.id).with("exitCode", code.to_string());
    engine.events.publish(event);
    if let Err(error) = shim.delete(&exec.id).await {
        tracing::debug!("cannot forget an exec: {}", chain(&error));
    }
}

/// Docker's exit code for a program that could not be run.
fn exit_code(text: &str) -> i32 {
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if has(&["executable file not found", "no such file or directory"]) { 127 } else { 126 }
}

/// Resizes its TTY.
pub async fn resize(engine: &Shared, id: &str, size: WindowSize) -> ApiResult<()> {
    let (container, exec) = find(engine, id)?;
    let shim = container.running_shim()?;
    if !exec.state().running {
        // The client's first resize may come before the program: its size is set at the start too.
        return Err(ApiError::conflict(format!("exec {id} is not running")));
    }
    shim.resize(id, size)
        .await
        .map_err(|error| ApiError::internal(format!("cannot resize: {}", chain(&error))))?;
    Ok(())
}

/// What `GET /exec/{id}/json` says.
pub fn inspect(engine: &Shared, id: &str) -> ApiResult<Value> {
    let (container, exec) = find(engine, id)?;
    let (state, request) = (exec.state(), &exec.request);
    let Config { user, .. } = &container.record().config;
    Ok(json!({
        "ID": exec.id,
        "ContainerID": container.id,
        "Running": state.running,
        "ExitCode": state.exit_code,
        "Pid": state.pid,
        "OpenStdin": request.attach_stdin,
        "OpenStdout": request.attach_stdout,
        "OpenStderr": request.attach_stderr,
        "CanRemove": false,
        "DetachKeys": request.detach_keys,
        "ProcessConfig": {
            "tty": request.tty,
            "entrypoint": request.cmd.first(),
            "arguments": request.cmd.get(1..).unwrap_or_default(),
            "privileged": request.privileged,
            "user": if request.user.is_empty() { user } else { &request.user },
            "env": request.env,
        },
    }))
}

/// The IDs of a container's execs that run or may.
pub fn ids(container: &Container) -> Vec<String> {
    let execs = container.execs.lock().unwrap_or_else(PoisonError::into_inner);
    execs.values().filter(|exec| exec.state().ended.is_none()).map(|exec| exec.id.clone()).collect()
}
