//! `POST /volumes/prune`: removes volumes that no container uses.

use std::sync::Arc;

use cofferdam_api::{ApiVersion, Filters};

use super::{Volume, remove, users};
use crate::engine::Shared;
use crate::error::ApiResult;
use crate::events::Event;

/// Removes them; their names and the bytes that they took. Since API 1.42 only those that nobody has named, unless
/// the filter `all` says so.
pub async fn prune(engine: &Shared, filters: &Filters, version: ApiVersion) -> ApiResult<(Vec<String>, u64)> {
    filters.check(&["all", "label", "label!"])?;
    let all = filters.flag("all")?.unwrap_or(version < ApiVersion::v1(42));
    let (mut names, mut bytes) = (Vec::new(), 0);
    for volume in engine.volumes.all() {
        let label = |key: &str| volume.about.labels.get(key).map(String::as_str);
        let spared = filters.has("label!") && filters.labels("label!", label);
        if !(all || volume.is_anonymous()) || spared || !filters.labels("label", label) {
            continue;
        }
        if !users(engine, &volume.name).is_empty() {
            continue;
        }
        let size = size(&volume).await;
        // One that was taken into use meanwhile is simply not pruned.
        if remove(engine, &volume.name, false).await.is_ok() {
            names.push(volume.name.clone());
            bytes += size;
        }
    }
    engine.events.publish(Event::now("volume", "prune", "").with("reclaimed", bytes.to_string()));
    Ok((names, bytes))
}

/// Bytes of everything in it.
pub async fn size(volume: &Arc<Volume>) -> u64 {
    let volume = Arc::clone(volume);
    tokio::task::spawn_blocking(move || volume.size()).await.unwrap_or(0)
}
