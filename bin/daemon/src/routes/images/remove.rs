//! Removing images: `DELETE /images/{name}`, `POST /images/prune`.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse as _;
use cofferdam_api::InvalidFilters;
use cofferdam_image::{ContainerUse, Digest, Removed};
use serde_json::{Value, json};

use super::list::created;
use crate::engine::{Engine, Shared};
use crate::error::ApiResult;
use crate::events::Event;
use crate::server::{Params, parse_timestamp};

pub async fn remove(State(engine): State<Shared>, Path(name): Path<String>, params: Params) -> ApiResult {
    let image = engine.images.resolve(&name)?;
    let removed = engine.images.remove(&name, params.flag("force"), |id| users(&engine, id)).await?;
    tell(&engine, &image.id().to_string(), &removed);
    Ok(Json(items(&removed)).into_response())
}

pub async fn prune(State(engine): State<Shared>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(&["dangling", "label", "label!", "until"])?;
    // Docker prunes what has no tag unless `dangling=false` asks for everything unused.
    let all = filters.flag("dangling")? == Some(false);
    let mut before = Vec::new();
    for time in filters.values("until") {
        let invalid = || InvalidFilters::Value { key: "until".to_owned(), value: time.to_owned() };
        before.push(parse_timestamp(time).ok_or_else(invalid)?.div_euclid(1_000_000_000));
    }
    let wanted = |image: &cofferdam_image::Image| {
        let label = |name: &str| image.container_config().labels.get(name).map(String::as_str);
        // Steps of builds are the build cache's.
        !engine.builds.hides(image)
            && before.iter().all(|before| created(image) < *before)
            && filters.labels("label", label)
            && (!filters.has("label!") || !filters.labels("label!", label))
    };
    let pruned = engine.images.prune(all, wanted, |id| users(&engine, id)).await?;
    tell(&engine, "", &pruned.removed);
    let event = Event::now("image", "prune", "").with("reclaimed", pruned.reclaimed.to_string());
    engine.events.publish(event);
    let deleted = items(&pruned.removed);
    let deleted = if deleted.is_empty() { Value::Null } else { json!(deleted) };
    Ok(Json(json!({ "ImagesDeleted": deleted, "SpaceReclaimed": pruned.reclaimed })).into_response())
}

/// The containers that use an image. One that cannot be read may be running.
fn users(engine: &Engine, id: &Digest) -> Vec<ContainerUse> {
    let id = id.to_string();
    let containers = engine.containers.using_image(&id).into_iter();
    let known = containers.map(|(container, running)| ContainerUse { id: container.id.to_string(), running });
    let unreadable = engine.containers.unreadable_naming(&id).into_iter();
    known.chain(unreadable.map(|id| ContainerUse { id, running: true })).collect()
}

fn items(removed: &[Removed]) -> Vec<Value> {
    let item = |removed: &Removed| match removed {
        Removed::Untagged(name) => json!({ "Untagged": name }),
        Removed::Deleted(id) => json!({ "Deleted": id.to_string() }),
    };
    removed.iter().map(item).collect()
}

/// Publishes what was removed; `id` is the image whose names are gone.
fn tell(engine: &Engine, id: &str, removed: &[Removed]) {
    for removed in removed {
        engine.events.publish(match removed {
            Removed::Untagged(name) => {
                let id = if id.is_empty() { name } else { id };
                Event::now("image", "untag", id).with("name", name)
            }
            Removed::Deleted(id) => {
                Event::now("image", "delete", id.to_string()).with("name", id.to_string())
            }
        });
    }
}
