//! What clients do to a container that exists: start, stop, kill, restart, pause, rename, update, networks.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_model::State;

use super::actor::Command;
use super::config::HostConfig;
use super::limits::{self, Whose};
use super::{Container, names, signals};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::networks::Endpoint;

/// How long a container may take to stop when nothing is said.
const STOP_SECONDS: i64 = 10;
/// How long its end may take after SIGKILL before the request gives up.
const KILL_TIME: Duration = Duration::from_secs(30);

/// Runs it; `false` when it ran already.
pub async fn start(container: &Container) -> ApiResult<bool> {
    container.ask(Command::Start).await
}

/// Asks it to stop, and kills it when it has not after `timeout` seconds (negative: never). `false` when it did not
/// run.
pub async fn stop(
    engine: &Shared,
    container: &Container,
    signal: Option<&str>,
    timeout: Option<i64>,
) -> ApiResult<bool> {
    let record = container.record();
    let signal = match signal {
        Some(text) => parse_signal(text)?,
        None => signals::parse(&record.config.stop_signal).unwrap_or(signals::TERM),
    };
    if !can_end(container) {
        return Ok(false);
    }
    let seconds = timeout.or(record.config.stop_timeout).unwrap_or(STOP_SECONDS);
    match send(container, signal, true).await {
        Err(_) if !container.status().state.is_live() => {}
        result => result?,
    }
    let limit = u64::try_from(seconds).ok().map(Duration::from_secs);
    if !has_ended(container, limit).await {
        end(container).await?;
    }
    engine.events.publish(container.event("stop"));
    Ok(true)
}

/// Stops it if it runs, and starts it.
pub async fn restart(
    engine: &Shared,
    container: &Container,
    signal: Option<&str>,
    timeout: Option<i64>,
) -> ApiResult<()> {
    // One with `--rm` is not removed in between.
    container.set_comes_back(true);
    let stopped = stop(engine, container, signal, timeout).await;
    let started = match stopped {
        Ok(_) => start(container).await,
        Err(error) => Err(error),
    };
    container.set_comes_back(false);
    started?;
    engine.events.publish(container.event("restart"));
    Ok(())
}

/// Sends a signal to its program.
pub async fn kill(container: &Container, reference: &str, signal: Option<&str>) -> ApiResult<()> {
    let signal = signal.map_or(Ok(signals::KILL), parse_signal)?;
    let not_running = |error: ApiError| ApiError {
        message: format!("cannot kill container: {reference}: {}", error.message),
        ..error
    };
    if !can_end(container) {
        return Err(not_running(container.not_running()));
    }
    let stop_signal = signals::parse(&container.record().config.stop_signal).unwrap_or(signals::TERM);
    send(container, signal, signal == signals::KILL || signal == stop_signal).await.map_err(|error| {
        if error.status == axum::http::StatusCode::CONFLICT { not_running(error) } else { error }
    })?;
    if signal == signals::KILL {
        // Docker answers a kill when the container has ended.
        has_ended(container, Some(KILL_TIME)).await;
    }
    Ok(())
}

/// Whether there is a run to be ended, or one to come by its restart policy.
fn can_end(container: &Container) -> bool {
    let status = container.status();
    status.is_running() || status.state == State::Starting
}

/// Kills it, and waits for its end.
pub(super) async fn end(container: &Container) -> ApiResult<()> {
    match send(container, signals::KILL, true).await {
        Err(_) if !container.status().state.is_live() => return Ok(()),
        result => result?,
    }
    if has_ended(container, Some(KILL_TIME)).await {
        return Ok(());
    }
    Err(ApiError::internal(format!(
        "container {} did not end within {} s after SIGKILL",
        container.id,
        KILL_TIME.as_secs()
    )))
}

async fn send(container: &Container, signal: u32, by_hand: bool) -> ApiResult<()> {
    container.ask(|reply| Command::Signal { signal, by_hand, reply }).await
}

async fn has_ended(container: &Container, limit: Option<Duration>) -> bool {
    let mut watch = container.watch();
    let ended = watch.wait_for(|status| !status.state.is_live() && status.state != State::Starting);
    match limit {
        Some(limit) => tokio::time::timeout(limit, ended).await.is_ok(),
        None => ended.await.is_ok(),
    }
}

fn parse_signal(text: &str) -> ApiResult<u32> {
    signals::parse(text).ok_or_else(|| ApiError::bad_request(format!("Invalid signal: {text}")))
}

/// Freezes it.
pub async fn pause(container: &Container) -> ApiResult<()> {
    container.ask(Command::Pause).await
}

/// Thaws it.
pub async fn unpause(container: &Container) -> ApiResult<()> {
    container.ask(Command::Unpause).await
}

/// Has it join a network.
pub async fn connect(container: &Container, endpoint: Endpoint) -> ApiResult<()> {
    container.ask(|reply| Command::Connect { endpoint, reply }).await
}

/// Has it leave a network, by its ID.
pub async fn disconnect(container: &Container, network: String) -> ApiResult<()> {
    container.ask(|reply| Command::Disconnect { network, reply }).await
}

/// Gives it another name.
pub async fn rename(container: &Arc<Container>, name: &str) -> ApiResult<()> {
    let name = name.strip_prefix('/').unwrap_or(name);
    if name.is_empty() {
        return Err(ApiError::bad_request("Neither old nor new names may be empty"));
    }
    if !names::is_valid(name) {
        return Err(ApiError::bad_request(names::refusal(name)));
    }
    if container.name() == name {
        return Err(ApiError::bad_request(
            "Error when allocating new name: Renaming a container with the same name as its current name",
        ));
    }
    container.ask(|reply| Command::Rename { name: name.to_owned(), reply }).await
}

/// Gives it other limits, or another restart policy; warnings.
pub async fn update(
    engine: &Shared,
    container: &Container,
    mut wanted: HostConfig,
) -> ApiResult<Vec<String>> {
    let mut warnings = Vec::new();
    let whose = Whose { update: true, ..Whose::of(container.record().isolation, &engine.config.data_root) };
    limits::check(&mut wanted, &whose, &mut warnings).map_err(ApiError::bad_request)?;
    let more = container.ask(|reply| Command::Update { wanted: Box::new(wanted), reply }).await?;
    warnings.extend(more);
    Ok(warnings)
}
