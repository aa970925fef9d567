//! The daemon's start: every container on record is compared with what is really there.
//!
//! | record | shim | becomes |
//! |---|---|---|
//! | running, paused | its task runs | the same; watched again |
//! | running, paused | its task has ended | exited with the shim's exit code and time |
//! | running, paused | gone | exited with 255: nobody knows how it ended |
//! | starting | its task runs | running: the daemon died before it could say so |
//! | starting | anything else | a failed start, undone |
//! | removing | | removed for good |
//!
//! Then restart policies are applied, and files that no record knows are swept away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_model::{Event, State};
use cofferdam_net::Published;
use cofferdam_store::{ContainerRow, Store};
use cofferdam_sys::cgroup::Cgroup;
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::actor::{Command, to_json};
use super::config::lenient;
use super::health::{Check, Health};
use super::record::{Record, Status};
use super::shim::{Phase, Shim, TaskState};
use super::unreadable::Unreadable;
use super::{Container, convert, lifecycle, remove, restart, start};
use crate::engine::Shared;
use crate::error::chain;
use crate::ports;

/// A shim that does not answer in this time is lost.
const ANSWER: Duration = Duration::from_secs(5);

/// The published ports of containers that, by their records, run.
pub fn published(store: &Store) -> Vec<Published> {
    let rows = store.containers().unwrap_or_default();
    let statuses = rows.iter().filter_map(|row| serde_json::from_str::<Status>(&row.state).ok());
    let live = statuses.filter(|status| status.state.is_live() || status.state == State::Starting);
    live.flat_map(|status| ports::led(&status)).collect()
}

/// Finds every container again.
pub async fn recover(engine: &Shared) {
    let rows = match engine.store.containers() {
        Ok(rows) => rows,
        Err(error) => {
            tracing::error!("cannot read the containers' records: {}", chain(&error));
            return;
        }
    };
    sweep(engine, &rows).await;
    // No volume is removed before it is known who uses it.
    let _gate = engine.volumes.gate.read().await;
    let mut recovering = JoinSet::new();
    for row in rows {
        recovering.spawn(recover_one(Arc::clone(engine), row));
    }
    while let Some(result) = recovering.join_next().await {
        if let Err(error) = result {
            tracing::error!("a container could not be recovered: {error}");
        }
    }
}

async fn recover_one(engine: Shared, row: ContainerRow) {
    let id = row.id.clone();
    let read = || -> Result<(Record, Status), serde_json::Error> {
        Ok((lenient(serde_json::from_str(&row.spec)?)?, serde_json::from_str(&row.state)?))
    };
    let (record, status) = match read() {
        Ok(read) => read,
        Err(error) => {
            let unreadable = Unreadable::new(row, &error);
            tracing::error!("{}", unreadable.error().message);
            engine.containers.add_unreadable(unreadable);
            return;
        }
    };
    convert::sweep(&engine, &id, record.isolation).await;
    let live = status.state.is_live() || status.state == State::Starting;
    let found = if live { look(&engine, &row).await } else { None };
    let (mut status, was_running, shim) = judge(status, found);
    status.health = match status.state {
        // What was probed before is history: Docker begins anew, too.
        State::Running => Check::of(&record.config).map(|_| Health::begin(status.health.take())),
        State::Paused => status.health,
        _ => status.health.map(Health::unwatched),
    };
    // Whoever would have started it again is gone.
    let waited = std::mem::take(&mut status.restarting);
    let policy = record.host.restart_policy.clone();
    let auto_remove = record.host.auto_remove;
    if status.state.is_live() {
        engine.ports.take_again(&id, &status.ports);
    } else if !status.ports.is_empty() {
        // The daemon's start had them lead to a container that runs no more.
        let (engine, id, before) = (Arc::clone(&engine), id.clone(), status.clone());
        let releasing = tokio::task::spawn_blocking(move || ports::release(&engine, &id, &before)).await;
        if let Err(error) = releasing {
            tracing::error!("taking back published ports failed: {error}");
        }
        status.ports = Vec::new();
    }
    let container = Container::spawn(&engine, id.clone(), row.name, record, status.clone());

    match (status.state, shim) {
        (State::Removing, shim) => {
            // In the background, as any removal: it waits until all containers are known, whose volumes it must spare.
            let shared = Arc::clone(&engine);
            engine.containers.finish_removal(async move { remove::finish(&shared, &container, shim).await });
            return;
        }
        (State::Running | State::Paused, Some(shim)) => {
            engine.containers.add(Arc::clone(&container));
            // Before anything else can happen to it.
            if let Err(error) = engine.store.set_state(&id, &to_json(&status)) {
                tracing::error!(%id, "cannot record a container's state: {}", chain(&error));
            }
            if let Err(error) = container.ask(|reply| Command::Adopt { shim, reply }).await {
                tracing::error!(%id, "cannot watch a running container: {error}");
            }
            return;
        }
        (_, shim) => {
            engine.containers.add(Arc::clone(&container));
            if live {
                if was_running {
                    let event = container.event("die").with("exitCode", status.exit_code.to_string());
                    engine.events.publish(event);
                }
                start::take_down(&engine, &container, shim).await;
                if let Err(error) = engine.store.set_stopped(&id, &to_json(&status)) {
                    tracing::error!(%id, "cannot record a container's end: {}", chain(&error));
                }
            }
        }
    }
    let ended = was_running || waited;
    if status.state != State::Created
        && restart::at_daemon_start(&policy, status.exit_code, status.restarts, status.stopped_by_hand, ended)
    {
        // Only a policy that counts its attempts goes on counting; `always` begins anew, as in Docker.
        let started = match policy.name.as_str() {
            "on-failure" => container.ask(Command::Restart).await,
            _ => lifecycle::start(&container).await.map(drop),
        };
        if let Err(error) = started {
            tracing::warn!(%id, "cannot start a container again: {error}");
        }
    } else if auto_remove && was_running {
        // In the background, too: its volumes go when all containers are known.
        let shared = Arc::clone(&engine);
        engine.containers.finish_removal(async move {
            if let Err(error) = remove::remove_container(&shared, &container, false, true).await {
                tracing::warn!(%id, "cannot remove a container that ended: {error}");
            }
        });
    }
}

/// The shim and what it says, if it lives.
async fn look(engine: &Shared, row: &ContainerRow) -> Option<(Shim, TaskState)> {
    let shim = Shim::connect(&engine.paths.bundle(&row.id), row.id.as_str()).ok()?;
    match tokio::time::timeout(ANSWER, shim.state("")).await {
        Ok(Ok(state)) => Some((shim, state)),
        // It lives, but has no task: the start that made it had not come that far.
        Ok(Err(super::shim::ShimError::Refused(_))) => {
            Some((shim, TaskState { pid: 0, phase: Phase::Created, ended: None }))
        }
        _ => None,
    }
}

/// What a record and a shim's answer mean together: the status, whether a run has ended that nobody saw ending, and
/// the shim that still holds something. Pure.
fn judge<S>(status: Status, found: Option<(S, TaskState)>) -> (Status, bool, Option<S>) {
    let was_live = status.state.is_live();
    let lost = |status: Status, code: i32, at: Timestamp, error: &str| Status {
        state: State::Exited,
        pid: 0,
        exit_code: code,
        error: error.to_owned(),
        finished: Some(at),
        vm: None,
        restarting: false,
        ..status
    };
    match found {
        Some((shim, task)) if matches!(task.phase, Phase::Running | Phase::Paused) => {
            let state = if task.phase == Phase::Paused { State::Paused } else { State::Running };
            let started = if was_live { status.started } else { Some(Timestamp::now()) };
            let pid = if task.pid == 0 { status.pid } else { task.pid };
            (Status { state, pid, started, ..status }, false, Some(shim))
        }
        Some((shim, TaskState { ended: Some(ended), .. })) => {
            (lost(status, ended.code, ended.at, ""), true, Some(shim))
        }
        found => {
            let shim = found.map(|(shim, _)| shim);
            match status.state {
                State::Running | State::Paused => {
                    (lost(status, super::actor::LOST, Timestamp::now(), ""), true, shim)
                }
                State::Starting => {
                    let failed = Event::StartFailed { ran_before: status.started.is_some() };
                    let state = status.state.apply(failed).unwrap_or(State::Exited);
                    let error = "the daemon ended while the container was being started".to_owned();
                    (Status { state, pid: 0, vm: None, error, ..status }, false, shim)
                }
                _ => (status, false, shim),
            }
        }
    }
}

/// Takes down what no record knows: bundles with their shims, cgroups, directories, links.
async fn sweep(engine: &Shared, rows: &[ContainerRow]) {
    let known: HashSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
    let engine = Arc::clone(engine);
    let sweeping = tokio::task::spawn_blocking(move || {
        let parent = engine.instance.cgroup_parent();
        for id in names_in(&engine.paths.bundles()).filter(|name| !known.contains(name)) {
            tracing::info!(%id, "sweeping what a lost container left");
            let bundle = engine.paths.bundles().join(&id);
            start::kill_everything(&bundle, &format!("{parent}/{id}"));
            report(start::remove_directory(&bundle));
        }
        for id in names_in(&engine.paths.containers()).filter(|name| !known.contains(name)) {
            report(start::remove_directory(&engine.paths.containers().join(&id)));
        }
        let children = Cgroup::named(&parent).and_then(|cgroup| cgroup.children()).unwrap_or_default();
        for id in children.into_iter().filter(|name| !known.contains(name)) {
            start::kill_everything(&engine.paths.bundles().join(&id), &format!("{parent}/{id}"));
        }
    });
    if let Err(error) = sweeping.await {
        tracing::error!("sweeping failed: {error}");
    }
}

fn names_in(directory: &std::path::Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn report(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::warn!("cannot sweep: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::shim::Ended;

    fn status(state: State, started: bool) -> Status {
        let started = started.then_some(Timestamp::UNIX_EPOCH);
        Status { state, started, pid: 7, ..Status::default() }
    }

    fn task(phase: Phase) -> Option<((), TaskState)> {
        let ended = (phase == Phase::Stopped).then_some(Ended { code: 3, at: Timestamp::UNIX_EPOCH });
        Some(((), TaskState { pid: 9, phase, ended }))
    }

    #[test]
    fn the_table_above() {
        let judged = |state, started, found| {
            let (status, was_running, shim) = judge(status(state, started), found);
            (status.state, status.exit_code, was_running, shim.is_some())
        };
        assert_eq!(judged(State::Running, true, task(Phase::Running)), (State::Running, 0, false, true));
        assert_eq!(judged(State::Running, true, task(Phase::Paused)), (State::Paused, 0, false, true));
        assert_eq!(judged(State::Running, true, task(Phase::Stopped)), (State::Exited, 3, true, true));
        assert_eq!(judged(State::Paused, true, None), (State::Exited, 255, true, false));
        assert_eq!(judged(State::Starting, false, task(Phase::Running)), (State::Running, 0, false, true));
        assert_eq!(judged(State::Starting, false, task(Phase::Created)), (State::Created, 0, false, true));
        assert_eq!(judged(State::Starting, true, None), (State::Exited, 0, false, false));
        assert_eq!(judged(State::Removing, true, None), (State::Removing, 0, false, false));
        assert_eq!(judged(State::Exited, true, None), (State::Exited, 0, false, false));
    }
}
