//! Joining networks and leaving them. A container at rest only has it recorded; one that runs has an interface more or less:
//!
//! ```text
//! connect     lease + status (one transaction) ─► shim, guest, /etc, ports ─► record
//! disconnect  record ─► shim, guest, /etc, ports ─► lease + status
//! ```
//!
//! So whatever the status has and the record has not is a crash's, and [`settle`] undoes it when the next daemon starts.
//! Only the container's actor calls this: nothing else changes it meanwhile.

use std::sync::Arc;

use cofferdam_model::{Isolation, MOST_NETWORKS, Rewiring};

use super::actor::to_json;
use super::record::{Record, Status};
use super::{Container, bundle};
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult, chain};
use crate::events::Event;
use crate::networks::{Attachment, Endpoint, choose_default, free_number, is_own_mode};
use crate::{network, ports};

/// Joins a network.
pub async fn connect(engine: &Shared, container: &Arc<Container>, endpoint: Endpoint) -> ApiResult<()> {
    let (record, status) = (container.record(), container.status());
    can_change(&record)?;
    if record.endpoints.iter().any(|other| other.network == endpoint.network) {
        return Err(ApiError::forbidden(format!(
            "endpoint with name {} already exists in network {}",
            container.name(),
            endpoint.name
        )));
    }
    if record.endpoints.len() >= MOST_NETWORKS {
        return Err(ApiError::forbidden(format!("a container is in {MOST_NETWORKS} networks at most")));
    }
    let mut next = Record::clone(&record);
    next.endpoints.push(endpoint.clone());
    if !status.state.is_live() {
        return commit(engine, container, next);
    }
    let number = free_number(&status.networks);
    let attachment = Attachment::new(engine, &container.id, &endpoint, number, &[])?;
    let mut changed = Status::clone(&status);
    engine.store.join_network(&container.id, &attachment.wanted, |address| {
        changed.networks.push(attachment.joined(number, address));
        choose_default(&mut changed.networks);
        to_json(&changed)
    })?;
    let mut outcome = rewire(engine, container, (&record, &status), (&next, &changed)).await;
    if outcome.is_ok() {
        outcome = commit(engine, container, next.clone());
    }
    if let Err(error) = outcome {
        if let Err(again) = rewire(engine, container, (&next, &changed), (&record, &status)).await {
            tracing::warn!(id = %container.id, "cannot undo a connection: {again}");
        }
        engine.store.leave_network(&container.id, &endpoint.network, &to_json(&*status))?;
        return Err(error);
    }
    container.publish(changed);
    engine.events.publish(event(engine, container, &endpoint.network, "connect"));
    Ok(())
}

/// Leaves a network.
pub async fn disconnect(engine: &Shared, container: &Arc<Container>, network: &str) -> ApiResult<()> {
    let (record, status) = (container.record(), container.status());
    can_change(&record)?;
    let mut next = Record::clone(&record);
    next.endpoints.retain(|endpoint| endpoint.network != network);
    if next.endpoints.len() == record.endpoints.len() {
        return Err(ApiError::forbidden(format!(
            "container {} is not connected to network {}",
            container.id,
            name_of(engine, network)
        )));
    }
    commit(engine, container, next.clone())?;
    if !status.state.is_live() {
        return Ok(());
    }
    let mut changed = Status::clone(&status);
    changed.networks.retain(|joined| joined.network != network);
    choose_default(&mut changed.networks);
    if let Err(error) = rewire(engine, container, (&record, &status), (&next, &changed)).await {
        if let Err(again) = rewire(engine, container, (&next, &changed), (&record, &status)).await {
            tracing::warn!(id = %container.id, "cannot undo a disconnection: {again}");
        }
        commit(engine, container, Record::clone(&record))?;
        return Err(error);
    }
    engine.store.leave_network(&container.id, network, &to_json(&changed))?;
    container.publish(changed);
    engine.events.publish(event(engine, container, network, "disconnect"));
    Ok(())
}

/// Takes a running container out of the networks that its record does not have: the daemon ended while it was joining or
/// leaving them.
pub async fn settle(engine: &Shared, container: &Arc<Container>) -> ApiResult<()> {
    let (record, status) = (container.record(), container.status());
    let recorded = |network: &str| record.endpoints.iter().any(|endpoint| endpoint.network == network);
    let lost: Vec<_> = status.networks.iter().filter(|joined| !recorded(&joined.network)).cloned().collect();
    if lost.is_empty() {
        return Ok(());
    }
    let mut changed = Status::clone(&status);
    changed.networks.retain(|joined| recorded(&joined.network));
    choose_default(&mut changed.networks);
    rewire(engine, container, (&record, &status), (&record, &changed)).await?;
    for joined in lost {
        engine.store.leave_network(&container.id, &joined.network, &to_json(&changed))?;
    }
    container.publish(changed);
    Ok(())
}

/// Tells everyone that a container has come into all its networks, or gone.
pub fn announce(engine: &Engine, container: &Container, action: &str) {
    for joined in &container.status().networks {
        engine.events.publish(event(engine, container, &joined.network, action));
    }
}

fn event(engine: &Engine, container: &Container, network: &str, action: &str) -> Event {
    let event = match engine.networks.find(network) {
        Ok(network) => network.event(action),
        Err(_default) => {
            Event::now("network", action, network).with("name", network::NAME).with("type", "bridge")
        }
    };
    event.with("container", container.id.to_string())
}

fn name_of(engine: &Engine, network: &str) -> String {
    engine.networks.find(network).map_or_else(|_| network::NAME.to_owned(), |network| network.name.clone())
}

/// Docker's words for those whose networks cannot be changed.
fn can_change(record: &Record) -> ApiResult<()> {
    let text = match record.network() {
        "none" => {
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        }
        "host" => {
            "container cannot be disconnected from host network or connected to another: it has the host's"
        }
        mode if is_own_mode(mode) => {
            "container sharing network namespace with another container or host cannot be connected to any other network"
        }
        _ if record.config.network_disabled => "the container's network is disabled",
        _ => return Ok(()),
    };
    Err(ApiError::forbidden(text))
}

fn commit(engine: &Engine, container: &Container, record: Record) -> ApiResult<()> {
    engine.store.set_spec(&container.id, &to_json(&record))?;
    container.set_record(record);
    Ok(())
}

type Networks<'a> = (&'a Record, &'a Status);

/// Has the interfaces, the files that name them and the published ports of a running container follow.
async fn rewire(
    engine: &Shared,
    container: &Arc<Container>,
    from: Networks<'_>,
    to: Networks<'_>,
) -> ApiResult<()> {
    let failed = |reason: String| {
        ApiError::internal(format!("cannot change the networks of container {}: {reason}", container.name()))
    };
    let shim = container.running_shim()?;
    let changed = bundle::changed_etc(engine, container, from, to)?;
    let files = if to.0.isolation == Isolation::Hyperv { changed } else { Vec::new() };
    let asked = Rewiring { interfaces: to.1.interfaces(), files };
    shim.rewire(&asked).await.map_err(|error| failed(chain(&error)))?;
    if from.1.way_out() != to.1.way_out() && !to.1.ports.is_empty() {
        let (engine, from, to) = (Arc::clone(engine), from.1.clone(), to.1.clone());
        let moving = tokio::task::spawn_blocking(move || ports::lead_elsewhere(&engine, &from, &to));
        moving.await.unwrap_or_else(|error| Err(error.to_string())).map_err(failed)?;
    }
    Ok(())
}
