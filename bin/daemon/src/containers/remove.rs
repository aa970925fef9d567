//! Removing containers. The record becomes `Removing` under a name that nobody else wants, in one step; from then on
//! the container is gone for every client, and taking down what it left is nobody's wait. A daemon that dies in
//! between finishes at its next start.

use std::sync::Arc;

use cofferdam_model::{Event as StateEvent, State};

use super::actor::{Command, to_json};
use super::record::Status;
use super::shim::Shim;
use super::{Container, lifecycle, start};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult, chain};
use crate::volumes;

/// Removes a container, and its anonymous volumes if `volumes` says so; one that runs only by force.
pub async fn remove_container(
    engine: &Shared,
    container: &Arc<Container>,
    force: bool,
    volumes: bool,
) -> ApiResult<()> {
    if volumes {
        container.drop_volumes();
    }
    let status = container.status();
    if status.is_running() || status.state == State::Starting {
        if !force {
            let advice = if status.state == State::Paused {
                "container is paused and must be unpaused first"
            } else {
                "stop the container before removing or force remove"
            };
            let word = status.word();
            return Err(ApiError::conflict(format!(
                "cannot remove container \"/{}\": container is {word}: {advice}",
                container.name()
            )));
        }
        lifecycle::end(container).await?;
        if container.record().host.auto_remove {
            // Its exit removes it.
            let mut watch = container.watch();
            let _ = watch.wait_for(|status| status.removed).await;
            return Ok(());
        }
    }
    if container.status().state == State::Removing {
        return Err(ApiError::conflict(format!(
            "removal of container {} is already in progress",
            container.name()
        )));
    }
    match container.ask(Command::Remove).await {
        // It was removed in the meantime: that is what was asked for.
        Err(error) if error.status == axum::http::StatusCode::NOT_FOUND => Ok(()),
        result => result,
    }
    .inspect(|()| tracing::debug!(id = %container.id, instance = %engine.instance, "removed"))
}

/// The actor's part. The container does not run; `shim` still holds what its last run made.
pub(super) async fn remove(engine: &Shared, container: &Arc<Container>, shim: Option<Shim>) {
    let status = Status::clone(&container.status());
    let state = status.state.apply(StateEvent::Remove).unwrap_or(State::Removing);
    let remove_volumes = container.drops_volumes() || container.record().host.auto_remove;
    let removing = Status { state, restarting: false, remove_volumes, ..status };
    let recorded = engine.store.begin_removal(&container.id, &to_json(&removing));
    if let Err(error) = recorded {
        tracing::error!(id = %container.id, "cannot record a removal: {}", chain(&error));
    }
    engine.containers.take_out(container.id.as_str());
    container.close_stdio(true);
    engine.events.publish(container.event("destroy"));
    // Their names are free with the container's; their files go when nothing holds them any more.
    let gone = match remove_volumes {
        true => volumes::take_anonymous(engine, &container.record().mounts).await,
        false => Vec::new(),
    };
    container.publish(Status { removed: true, ..removing });
    let (shared, container) = (Arc::clone(engine), Arc::clone(container));
    engine.containers.finish_removal(async move {
        finish(&shared, &container, shim).await;
        let _ = tokio::task::spawn_blocking(move || drop(gone)).await;
    });
}

/// Takes down what a removed container left, and forgets it at last.
pub(super) async fn finish(engine: &Shared, container: &Arc<Container>, shim: Option<Shim>) {
    let held = shim.is_some() || engine.paths.bundle(&container.id).exists();
    if held {
        start::take_down(engine, container, shim).await;
    }
    if container.status().remove_volumes {
        // What a daemon that died had not come to.
        let gone = volumes::take_anonymous(engine, &container.record().mounts).await;
        let _ = tokio::task::spawn_blocking(move || drop(gone)).await;
    }
    let (engine, container) = (Arc::clone(engine), Arc::clone(container));
    let finishing = tokio::task::spawn_blocking(move || {
        if let Err(error) = start::remove_directory(&engine.paths.container(&container.id)) {
            tracing::warn!(id = %container.id, "cannot remove the container's directory: {error}");
            return;
        }
        if let Err(error) = engine.store.remove_container(&container.id) {
            tracing::error!(id = %container.id, "cannot forget a container: {}", chain(&error));
        }
    });
    if let Err(error) = finishing.await {
        tracing::error!("removal failed: {error}");
    }
}
