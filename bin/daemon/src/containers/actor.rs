//! The task that owns one container's state: it takes commands one after the other, hears of the exit, and starts
//! the container again when its policy says so.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_model::{Event as StateEvent, InvalidTransition, Isolation, State};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::config::HostConfig;
use super::health::{Check, Health, Monitor};
use super::record::Status;
use super::restart::{self, Backoff};
use super::shim::{Ended, Shim, ShimError};
use super::{Container, claim_volumes, connect, remove, signals, start};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult, chain};
use crate::networks::Endpoint;

/// The exit code of a container whose end nobody saw: its shim was lost. Docker's too.
pub const LOST: i32 = 255;

/// What an actor is asked for. Every answer goes through a channel of its own.
pub enum Command {
    /// Runs it. `true` when it did not run before.
    Start(oneshot::Sender<ApiResult<bool>>),
    /// Sends a signal; `by_hand` says that it is meant to end the container for good, so that one between two runs does
    /// not run again.
    Signal {
        /// The signal.
        signal: u32,
        /// Whether a restart policy shall not bring it back.
        by_hand: bool,
        /// The answer.
        reply: oneshot::Sender<ApiResult<()>>,
    },
    /// Starts it again for its restart policy, which counts how often.
    Restart(oneshot::Sender<ApiResult<()>>),
    /// Freezes it.
    Pause(oneshot::Sender<ApiResult<()>>),
    /// Thaws it.
    Unpause(oneshot::Sender<ApiResult<()>>),
    /// Renames it.
    Rename {
        /// The new name, checked.
        name: String,
        /// The answer.
        reply: oneshot::Sender<ApiResult<()>>,
    },
    /// Other limits or another restart policy.
    Update {
        /// What is asked for, checked.
        wanted: Box<HostConfig>,
        /// The answer: warnings.
        reply: oneshot::Sender<ApiResult<Vec<String>>>,
    },
    /// Has the other level from now on: what that takes is there.
    Convert {
        /// The level.
        to: Isolation,
        /// The answer.
        reply: oneshot::Sender<ApiResult<()>>,
    },
    /// Joins a network.
    Connect {
        /// Its place there.
        endpoint: Endpoint,
        /// The answer.
        reply: oneshot::Sender<ApiResult<()>>,
    },
    /// Leaves a network.
    Disconnect {
        /// The network's ID.
        network: String,
        /// The answer.
        reply: oneshot::Sender<ApiResult<()>>,
    },
    /// Takes a shim over that was found running at the daemon's start.
    Adopt {
        /// The shim.
        shim: Shim,
        /// The answer.
        reply: oneshot::Sender<ApiResult<()>>,
    },
    /// Removes it; it must not run.
    Remove(oneshot::Sender<ApiResult<()>>),
}

type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, ShimError>> + Send>>;

/// One container's task.
pub(super) struct Actor {
    pub(super) engine: Shared,
    pub(super) container: Arc<Container>,
    /// The shim's answer to `Wait`, while the container runs.
    pub(super) exit: Option<Waiting<Ended>>,
    /// The shim's word that memory has run out, while it runs.
    oom: Option<Waiting<u64>>,
    /// Probes it, while it runs and has a health check.
    pub(super) health: Option<Monitor>,
    backoff: Backoff,
    restart_at: Option<Instant>,
    gone: bool,
}

/// Runs until the container is removed.
pub(super) async fn run(engine: Shared, container: Arc<Container>, mut inbox: mpsc::Receiver<Command>) {
    let mut actor = Actor {
        engine,
        container,
        exit: None,
        oom: None,
        health: None,
        backoff: Backoff::default(),
        restart_at: None,
        gone: false,
    };
    while !actor.gone {
        let (exit, oom) = (next(&mut actor.exit), next(&mut actor.oom));
        let restart = async {
            match actor.restart_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let probed = async {
            match actor.health.as_mut() {
                Some(monitor) => monitor.result(&actor.engine, &actor.container).await,
                None => std::future::pending().await,
            }
        };
        // An exit comes first: a command that follows it must see its effect.
        tokio::select! {
            biased;
            ended = exit => actor.exited(ended).await,
            count = oom => actor.out_of_memory(count),
            command = inbox.recv() => match command {
                Some(command) => actor.obey(command).await,
                None => return,
            },
            () = restart => actor.restart().await,
            probed = probed => actor.probed(probed),
        }
    }
}

async fn next<T>(waiting: &mut Option<Waiting<T>>) -> Result<T, ShimError> {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

/// Whether the shim refused because the container ended in this moment: its exit is on its way.
pub(super) fn has_just_ended(error: &ShimError) -> bool {
    matches!(error, ShimError::Refused(text) if text.contains("already finished") || text.contains("not found"))
}

impl Actor {
    async fn obey(&mut self, command: Command) {
        // Whoever asked may have gone away; what was asked for is done all the same.
        match command {
            Command::Start(reply) => {
                let _ = reply.send(self.start_by_hand().await);
            }
            Command::Signal { signal, by_hand, reply } => {
                let _ = reply.send(self.signal(signal, by_hand).await);
            }
            Command::Restart(reply) => {
                self.restart().await;
                let _ = reply.send(Ok(()));
            }
            Command::Pause(reply) => {
                let _ = reply.send(self.pause().await);
            }
            Command::Unpause(reply) => {
                let _ = reply.send(self.unpause().await);
            }
            Command::Rename { name, reply } => {
                let _ = reply.send(self.rename(&name));
            }
            Command::Update { wanted, reply } => {
                let _ = reply.send(self.update(&wanted).await);
            }
            Command::Convert { to, reply } => {
                let _ = reply.send(self.convert(to));
            }
            Command::Connect { endpoint, reply } => {
                let _ = reply.send(connect::connect(&self.engine, &self.container, endpoint).await);
            }
            Command::Disconnect { network, reply } => {
                let _ = reply.send(connect::disconnect(&self.engine, &self.container, &network).await);
            }
            Command::Adopt { shim, reply } => {
                let _ = reply.send(self.adopt(shim).await);
            }
            Command::Remove(reply) => {
                let result = self.remove().await;
                let _ = reply.send(result);
            }
        }
    }

    pub(super) fn status(&self) -> Status {
        Status::clone(&self.container.status())
    }

    /// Whether `event` is legal now.
    fn check(&self, event: StateEvent) -> Result<State, InvalidTransition> {
        self.container.status().state.apply(event)
    }

    /// Records a status that holds no leases less or more than before, then tells everyone.
    pub(super) fn record(&self, status: Status) -> ApiResult<()> {
        self.engine.store.set_state(&self.container.id, &to_json(&status))?;
        self.container.publish(status);
        Ok(())
    }

    async fn start_by_hand(&mut self) -> ApiResult<bool> {
        let status = self.container.status();
        match status.state {
            State::Running => return Ok(false),
            // It runs in Docker's sense, and its policy starts it.
            _ if status.restarting => return Ok(false),
            State::Paused => {
                return Err(ApiError::conflict("cannot start a paused container, try unpause instead"));
            }
            State::Removing => {
                return Err(ApiError::conflict("container is marked for removal and cannot be started"));
            }
            _ => {}
        }
        self.restart_at = None;
        self.backoff = Backoff::default();
        let fresh =
            Status { restarts: 0, restarting: false, stopped_by_hand: false, ..Status::clone(&status) };
        let started = self.start(fresh).await;
        if started.is_err() && self.container.record().host.auto_remove {
            self.remove_quietly().await;
        }
        started.map(|()| true)
    }

    /// From a status at rest to a running container, or back.
    async fn start(&mut self, at_rest: Status) -> ApiResult<()> {
        let starting =
            at_rest.state.apply(StateEvent::Start).map_err(|error| ApiError::from_chain(&error))?;
        let ran_before = at_rest.started.is_some();
        let _alone = self.container.hold().await?;
        let checked = Check::of(&self.container.record().config).is_some();
        let health = checked.then(|| Health::begin(at_rest.health.clone()));
        let begun = Status { state: starting, health, ..at_rest.clone() };
        match start::start(&self.engine, &self.container, begun).await {
            Ok((shim, status)) => {
                self.container.publish(status);
                self.watch_health();
                self.wait_for(&shim);
                connect::announce(&self.engine, &self.container, "connect");
                claim_volumes::announce(&self.engine, &self.container, "mount");
                self.engine.events.publish(self.container.event("start"));
                Ok(())
            }
            Err(failure) => {
                let state = starting.apply(StateEvent::StartFailed { ran_before }).unwrap_or(at_rest.state);
                let status = Status {
                    state,
                    pid: 0,
                    exit_code: failure.exit_code,
                    error: failure.error.message.clone(),
                    finished: ran_before.then(Timestamp::now),
                    restarting: false,
                    networks: at_rest.networks.clone(),
                    vm: None,
                    ..at_rest
                };
                self.container.close_stdio(true);
                self.container.set_shim(None);
                self.engine.ports.give_back(&self.container.id);
                if let Err(error) = self.engine.store.set_stopped(&self.container.id, &to_json(&status)) {
                    tracing::error!(id = %self.container.id, "cannot record a failed start: {}", chain(&error));
                }
                self.container.publish(status);
                let event = self.container.event("die").with("exitCode", failure.exit_code.to_string());
                self.engine.events.publish(event.with("execDuration", "0"));
                Err(failure.error)
            }
        }
    }

    fn wait_for(&mut self, shim: &Shim) {
        self.wait_for_oom(shim);
        let shim = shim.clone();
        self.exit = Some(Box::pin(async move { shim.wait("").await }));
    }

    fn wait_for_oom(&mut self, shim: &Shim) {
        let (shim, seen) = (shim.clone(), self.container.status().ooms);
        self.oom = Some(Box::pin(async move { shim.oom(seen).await }));
    }

    /// Memory has run out in a container that may well go on.
    fn out_of_memory(&mut self, count: Result<u64, ShimError>) {
        self.oom = None;
        // No count: the container has ended, or its shim has.
        let (Ok(count), Some(shim)) = (count, self.container.shim()) else { return };
        if self.record(Status { oom_killed: true, ooms: count, ..self.status() }).is_ok() {
            self.engine.events.publish(self.container.event("oom"));
        }
        self.wait_for_oom(&shim);
    }

    async fn adopt(&mut self, shim: Shim) -> ApiResult<()> {
        self.container.open_stdio(&shim).await.map_err(|error| ApiError::from_chain(&error))?;
        self.wait_for(&shim);
        self.watch_health();
        if let Err(error) = connect::settle(&self.engine, &self.container).await {
            tracing::warn!(id = %self.container.id, "networks: {error}");
        }
        Ok(())
    }

    async fn exited(&mut self, ended: Result<Ended, ShimError>) {
        self.exit = None;
        self.health = None;
        (self.exit, self.oom) = (None, None);
        let shim = self.container.shim();
        match ended {
            Ok(ended) => self.ended(ended, shim).await,
            Err(error) => {
                tracing::warn!(id = %self.container.id, "lost the shim: {}", chain(&error));
                self.ended(Ended { code: LOST, at: Timestamp::now() }, None).await;
            }
        }
    }

    /// The container does not run any more; with its shim, when that lives, which still holds what it made.
    async fn ended(&mut self, ended: Ended, shim: Option<Shim>) {
        let container = Arc::clone(&self.container);
        let record = container.record();
        let mut status = self.status();
        let told = status.oom_killed;
        status.oom_killed |= match &shim {
            Some(shim) => shim.info().await.is_ok_and(|info| info.oom_killed),
            None => false,
        };
        status.state = status.state.apply(StateEvent::Exited).unwrap_or(State::Exited);
        start::release_ports(&self.engine, &container, &status).await;
        status.ports = Vec::new();
        status.pid = 0;
        status.vm = None;
        status.health = status.health.map(Health::unwatched);
        status.exit_code = ended.code;
        status.finished = Some(ended.at);
        status.exits += 1;
        let ran = status.started.map_or(Duration::ZERO, |started| {
            Duration::try_from(ended.at.duration_since(started)).unwrap_or_default()
        });
        let again = restart::after_exit(
            &record.host.restart_policy,
            ended.code,
            status.restarts,
            status.stopped_by_hand,
        );
        status.restarting = again;

        container.close_stdio(false);
        container.set_shim(None);
        if status.oom_killed && !told {
            self.engine.events.publish(container.event("oom"));
        }
        let event = container.event("die").with("exitCode", ended.code.to_string());
        self.engine.events.publish(event.with("execDuration", ran.as_secs().to_string()));
        connect::announce(&self.engine, &container, "disconnect");
        claim_volumes::announce(&self.engine, &container, "unmount");

        if record.host.auto_remove && !again && !container.comes_back() {
            // Waiters hear of the exit and of the removal; taking down what is left is nobody's wait.
            container.publish(status);
            self.remove_with(shim).await;
            return;
        }
        // Waiters hear of it before the rest is cleared up; the next command comes after. Should the daemon die in
        // between, the next one asks the shim again.
        container.publish(status.clone());
        start::take_down(&self.engine, &container, shim).await;
        if let Err(error) = self.engine.store.set_stopped(&container.id, &to_json(&status)) {
            tracing::error!(id = %container.id, "cannot record an exit: {}", chain(&error));
        }
        if again {
            self.restart_at = Some(Instant::now() + self.backoff.next(ran));
        }
    }

    async fn restart(&mut self) {
        self.restart_at = None;
        let status = self.status();
        let next = Status { restarts: status.restarts + 1, restarting: false, ..status.clone() };
        if let Err(error) = self.start(next).await {
            tracing::warn!(id = %self.container.id, "restart failed: {error}");
            let record = self.container.record();
            let status = self.status();
            if restart::after_exit(&record.host.restart_policy, status.exit_code, status.restarts, false) {
                let delay = self.backoff.next(Duration::ZERO);
                self.restart_at = Some(Instant::now() + delay);
                let again = Status { restarting: true, restarts: status.restarts + 1, ..status };
                let _ = self.record(again);
            }
        }
    }

    fn cancel_restart(&mut self) -> ApiResult<bool> {
        if self.restart_at.take().is_none() {
            return Ok(false);
        }
        let status = Status { restarting: false, stopped_by_hand: true, ..self.status() };
        self.record(status).map(|()| true)
    }

    async fn signal(&mut self, signal: u32, by_hand: bool) -> ApiResult<()> {
        // Decided here, where no run begins or ends meanwhile: whoever asked saw it a moment ago, in another state perhaps.
        if by_hand && self.cancel_restart()? {
            return Ok(());
        }
        let shim = self.container.running_shim()?;
        if by_hand && !self.container.status().stopped_by_hand {
            self.record(Status { stopped_by_hand: true, ..self.status() })?;
        }
        match shim.kill("", signal, false).await {
            // Published here, before this task can hear of the exit: `kill` comes before `die`.
            Ok(()) => {
                let event = self.container.event("kill").with("signal", signal.to_string());
                self.engine.events.publish(event);
            }
            Err(error) if has_just_ended(&error) => {}
            Err(error) => {
                return Err(ApiError::internal(format!(
                    "Cannot kill container {}: {}",
                    self.container.id,
                    chain(&error)
                )));
            }
        }
        // A frozen container could not hear it.
        if self.container.status().state == State::Paused && (by_hand || signal == signals::KILL) {
            self.unpause().await?;
        }
        Ok(())
    }

    async fn pause(&mut self) -> ApiResult<()> {
        let id = &self.container.id;
        let status = self.status();
        if status.state == State::Paused {
            return Err(ApiError::conflict(format!("container {id} is already paused")));
        }
        if status.restarting {
            return Err(ApiError::conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            )));
        }
        let shim = self.container.running_shim()?;
        let state = self.check(StateEvent::Pause).map_err(|error| ApiError::conflict(chain(&error)))?;
        // Before: a frozen probe could not be ended.
        self.unwatch_health().await;
        if let Err(error) = shim.pause().await {
            self.watch_health();
            let id = &self.container.id;
            return Err(ApiError::internal(format!("cannot pause container {id}: {}", chain(&error))));
        }
        self.record(Status { state, health: status.health.map(Health::unwatched), ..status })?;
        self.engine.events.publish(self.container.event("pause"));
        Ok(())
    }

    async fn unpause(&mut self) -> ApiResult<()> {
        let id = &self.container.id;
        let Ok(state) = self.check(StateEvent::Unpause) else {
            return Err(ApiError::conflict(format!("Container {id} is not paused")));
        };
        let shim = self.container.running_shim()?;
        match shim.resume().await {
            Ok(()) => {}
            // Some kernels let SIGKILL end what is frozen, others wait for the thaw.
            Err(error) if has_just_ended(&error) => return Ok(()),
            Err(error) => {
                let message = format!("cannot unpause container {id}: {}", chain(&error));
                return Err(ApiError::internal(message));
            }
        }
        self.record(Status { state, ..self.status() })?;
        self.watch_health();
        self.engine.events.publish(self.container.event("unpause"));
        Ok(())
    }

    fn rename(&mut self, name: &str) -> ApiResult<()> {
        let old = self.container.name();
        self.engine.store.rename_container(&self.container.id, name)?;
        self.container.set_name(name);
        self.engine.events.publish(self.container.event("rename").with("oldName", format!("/{old}")));
        Ok(())
    }

    async fn remove(&mut self) -> ApiResult<()> {
        let status = self.container.status();
        self.check(StateEvent::Remove).map_err(|_illegal| {
            ApiError::conflict(format!(
                "cannot remove container \"/{}\": container is {}: stop the container before removing or force remove",
                self.container.name(),
                status.word(),
            ))
        })?;
        let _alone = self.container.hold().await?;
        self.remove_with(None).await;
        Ok(())
    }

    async fn remove_quietly(&mut self) {
        if self.check(StateEvent::Remove).is_ok() {
            self.remove_with(None).await;
        }
    }

    /// From here on the container is gone for everyone; what it leaves is taken down in the background, and found
    /// again by the next daemon should this one die.
    async fn remove_with(&mut self, shim: Option<Shim>) {
        self.restart_at = None;
        self.exit = None;
        self.health = None;
        (self.exit, self.oom) = (None, None);
        self.gone = true;
        remove::remove(&self.engine, &self.container, shim).await;
    }
}

/// A record's or status's text.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("records and states have text keys only")
}
