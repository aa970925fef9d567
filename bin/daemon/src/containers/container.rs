//! One container as the rest of the daemon sees it: what is known of it, and the way to its actor.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use cofferdam_model::{ContainerId, IoRequest, ProcessInfo, WindowSize};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::actor::{self, Command};
use super::exec::Exec;
use super::record::{Record, Status};
use super::shim::{Shim, ShimError};
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult, chain};
use crate::events::Event;

/// How long a start waits for a copy to end.
const LONGEST_COPY: Duration = Duration::from_secs(30);

/// A container.
pub struct Container {
    /// Its ID.
    pub id: ContainerId,
    name: RwLock<String>,
    record: RwLock<Arc<Record>>,
    status: watch::Sender<Arc<Status>>,
    shim: RwLock<Option<Shim>>,
    stdio: Mutex<StdioGate>,
    /// The moments of the next start, when someone has asked for them.
    trace: Mutex<Option<Vec<(String, u64)>>>,
    commands: mpsc::Sender<Command>,
    /// Whether its anonymous volumes are to go with it.
    drop_volumes: AtomicBool,
    /// Whether its next exit is a part of a restart by hand, which does not remove it.
    comes_back: AtomicBool,
    /// Held by a start or a removal, and by whoever looks at its files while it does not run.
    pub(super) at_rest: Arc<tokio::sync::Mutex<()>>,
    /// Programs executed in it.
    pub(super) execs: Mutex<BTreeMap<String, Arc<Exec>>>,
}

/// Who attaches before a container runs waits here, so that no output is missed.
#[derive(Default)]
struct StdioGate {
    /// Whether the shim takes clients.
    open: bool,
    waiting: Vec<(IoRequest, oneshot::Sender<UnixStream>)>,
}

impl Container {
    /// Brings a recorded container to life: its actor begins with `status`.
    pub(super) fn spawn(
        engine: &Shared,
        id: ContainerId,
        name: String,
        record: Record,
        status: Status,
    ) -> Arc<Self> {
        let (commands, inbox) = mpsc::channel(16);
        let container = Arc::new(Self {
            id,
            name: RwLock::new(name),
            record: RwLock::new(Arc::new(record)),
            status: watch::Sender::new(Arc::new(status)),
            shim: RwLock::default(),
            stdio: Mutex::default(),
            trace: Mutex::default(),
            commands,
            at_rest: Arc::default(),
            drop_volumes: AtomicBool::new(false),
            comes_back: AtomicBool::new(false),
            execs: Mutex::default(),
        });
        tokio::spawn(actor::run(Arc::clone(engine), Arc::clone(&container), inbox));
        container
    }

    /// Its name, without a slash.
    pub fn name(&self) -> String {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_name(&self, name: &str) {
        name.clone_into(&mut self.name.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// What was asked for.
    pub fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_record(&self, record: Record) {
        *self.record.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(record);
    }

    /// How it is.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// How it is, and every change.
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.subscribe()
    }

    /// From here on moments are noted ([`Self::mark`]).
    pub fn begin_trace(&self) {
        *self.trace.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// The moments since [`Self::begin_trace`], in order, in microseconds of the host's monotonic clock. None are noted
    /// any more.
    pub fn end_trace(&self) -> Vec<(String, u64)> {
        let mut marks = self.trace.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        marks.sort_by_key(|(_, at)| *at);
        marks
    }

    pub(super) fn is_traced(&self) -> bool {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Notes that `what` is done now.
    pub(super) fn mark(&self, what: &str) {
        self.add_marks([(what.to_owned(), cofferdam_sys::trace::now())]);
    }

    /// Adds another process's moments.
    pub(super) fn add_marks(&self, more: impl IntoIterator<Item = (String, u64)>) {
        if let Some(marks) = &mut *self.trace.lock().unwrap_or_else(PoisonError::into_inner) {
            marks.extend(more);
        }
    }

    /// Its anonymous volumes are to go with it.
    pub(super) fn drop_volumes(&self) {
        self.drop_volumes.store(true, Ordering::Relaxed);
    }

    pub(super) fn drops_volumes(&self) -> bool {
        self.drop_volumes.load(Ordering::Relaxed)
    }

    /// Whether its next exit is a part of a restart by hand.
    pub(super) fn set_comes_back(&self, comes_back: bool) {
        self.comes_back.store(comes_back, Ordering::Relaxed);
    }

    pub(super) fn comes_back(&self) -> bool {
        self.comes_back.load(Ordering::Relaxed)
    }

    pub(super) fn publish(&self, status: Status) {
        self.status.send_replace(Arc::new(status));
    }

    /// Its shim, while it has one.
    pub(super) fn shim(&self) -> Option<Shim> {
        self.shim.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_shim(&self, shim: Option<Shim>) {
        *self.shim.write().unwrap_or_else(PoisonError::into_inner) = shim;
    }

    /// The shim of a running container, or Docker's complaint.
    pub(super) fn running_shim(&self) -> ApiResult<Shim> {
        self.shim().filter(|_| self.status().state.is_live()).ok_or_else(|| self.not_running())
    }

    /// Docker's complaint about a container that should run.
    pub(super) fn not_running(&self) -> ApiError {
        ApiError::conflict(format!("container {} is not running", self.id))
    }

    /// Asks the actor for something and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<ApiResult<T>>) -> Command,
    ) -> ApiResult<T> {
        let (reply, answer) = oneshot::channel();
        let gone = || ApiError::not_found(format!("No such container: {}", self.id));
        // A client that goes away does not undo what it asked for: the actor does it all the same.
        self.commands.send(command(reply)).await.map_err(|_closed| gone())?;
        answer.await.map_err(|_closed| gone())?
    }

    /// Attaches now when the shim takes clients, else as soon as it does.
    pub(super) async fn stdio(&self, request: IoRequest) -> Result<PendingStdio, ShimError> {
        let waiting = {
            let mut gate = self.stdio.lock().unwrap_or_else(PoisonError::into_inner);
            if gate.open {
                None
            } else {
                let (sender, receiver) = oneshot::channel();
                // Who gave up meanwhile does not count.
                gate.waiting.retain(|(_, sender)| !sender.is_closed());
                gate.waiting.push((request.clone(), sender));
                Some(receiver)
            }
        };
        match (waiting, self.shim()) {
            (Some(receiver), _) => Ok(PendingStdio::Later(receiver)),
            (None, Some(shim)) => Ok(PendingStdio::Now(shim.attach(&request).await?)),
            (None, None) => Err(ShimError::Gone { last_words: String::new() }),
        }
    }

    /// Keeps others from its files while it does not run: waits for them for a while, then says what it waits for.
    pub(super) async fn hold(&self) -> ApiResult<tokio::sync::OwnedMutexGuard<()>> {
        let waiting = tokio::time::timeout(LONGEST_COPY, Arc::clone(&self.at_rest).lock_owned());
        waiting.await.map_err(|_elapsed| {
            ApiError::conflict(format!("container {} is being copied from or to: try again later", self.id))
        })
    }

    /// Lets clients in: those that wait are attached before this returns.
    pub(super) async fn open_stdio(&self, shim: &Shim) -> Result<(), ShimError> {
        self.set_shim(Some(shim.clone()));
        let waiting = {
            let mut gate = self.stdio.lock().unwrap_or_else(PoisonError::into_inner);
            gate.open = true;
            std::mem::take(&mut gate.waiting)
        };
        for (request, sender) in waiting {
            if !sender.is_closed() {
                let stream = shim.attach(&request).await?;
                // Whoever gave up in this moment loses nothing.
                let _ = sender.send(stream);
            }
        }
        Ok(())
    }

    /// Lets no one in any more; `dismiss` sends away those that wait for the next start.
    pub(super) fn close_stdio(&self, dismiss: bool) {
        let mut gate = self.stdio.lock().unwrap_or_else(PoisonError::into_inner);
        gate.open = false;
        if dismiss {
            gate.waiting.clear();
        }
    }

    /// Resizes its TTY.
    pub async fn resize(&self, engine: &Engine, size: WindowSize) -> ApiResult<()> {
        let shim = self.running_shim()?;
        let resizing = shim.resize("", size).await;
        resizing.map_err(|error| {
            ApiError::internal(format!("cannot resize container {}: {}", self.id, chain(&error)))
        })?;
        let event = self.event("resize").with("height", size.height.to_string());
        engine.events.publish(event.with("width", size.width.to_string()));
        Ok(())
    }

    /// Its processes, for `top`.
    pub async fn processes(&self) -> ApiResult<Vec<ProcessInfo>> {
        if self.status().restarting {
            return Err(ApiError::conflict(format!(
                "Container {} is restarting, wait until the container is running",
                self.id
            )));
        }
        let processes = self.running_shim()?.processes().await;
        processes.map_err(|error| {
            ApiError::internal(format!(
                "cannot list the processes of container {}: {}",
                self.id,
                chain(&error)
            ))
        })
    }

    /// An event about this container, with what Docker says of it.
    pub fn event(&self, action: impl Into<String>) -> Event {
        let record = self.record();
        let mut event = Event::now("container", action, self.id.as_str())
            .with("image", record.config.image.clone())
            .with("name", self.name());
        for (key, value) in &record.config.labels {
            event.attributes.entry(key.clone()).or_insert_with(|| value.clone());
        }
        event
    }
}

/// A stdio stream that is there or will be.
pub(super) enum PendingStdio {
    Now(UnixStream),
    Later(oneshot::Receiver<UnixStream>),
}

impl PendingStdio {
    /// The stream; `None` when the container will not run.
    pub(super) async fn ready(self) -> Option<UnixStream> {
        match self {
            Self::Now(stream) => Some(stream),
            Self::Later(receiver) => receiver.await.ok(),
        }
    }
}
