//! `/build` and `/build/prune`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use cofferdam_image::{ContainerUse, Removed};
use serde_json::{Value, json};
use tokio_util::io::SyncIoBridge;

use super::images::Upload;
use crate::build::{Context, Job, Options, Workplace, build};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::events::Event;
use crate::server::{Params, json_lines};

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/build", post(build_one))
        .route("/build/prune", post(prune))
        // Contexts are as long as they are; they are never held in memory.
        .layer(DefaultBodyLimit::disable())
}

async fn build_one(State(engine): State<Shared>, params: Params, body: Body) -> ApiResult {
    let options = Options::read(&params)?;
    let workplace = Arc::new(Workplace::new(&engine)?);
    let (place, name) = (Arc::clone(&workplace), options.dockerfile.clone());
    let upload = SyncIoBridge::new(Upload::new(body));
    let reading = tokio::task::spawn_blocking(move || {
        let mut context = Context::read(upload, place.path())?;
        let text = match context.text(&name)? {
            None if name == "Dockerfile" => context.text("dockerfile")?,
            text => text,
        };
        let text = text.ok_or_else(|| format!("Cannot locate specified Dockerfile: {name}"))?;
        let file = cofferdam_dockerfile::parse(&text).map_err(|error| error.to_string())?;
        context.drop_ignored(&[&name, ".dockerignore"])?;
        Ok::<_, String>((context, file))
    });
    let (context, file) = reading
        .await
        .map_err(|error| ApiError::internal(format!("cannot read the build context: {error}")))?
        .map_err(ApiError::bad_request)?;
    Ok(json_lines(move |lines| async move {
        Box::pin(build(Job { engine, options, context: Arc::new(context), file, workplace, lines })).await;
    }))
}

async fn prune(State(engine): State<Shared>, params: Params) -> ApiResult<Json<Value>> {
    if !params.filters()?.is_empty() {
        return Err(ApiError::bad_request("filters of the build cache are not supported: prune all of it"));
    }
    if engine.builds.any_runs() {
        return Err(ApiError::conflict("a build is running: prune its cache when it has ended"));
    }
    let users = |id: &cofferdam_image::Digest| {
        let containers = engine.containers.using_image(&id.to_string()).into_iter();
        containers
            .map(|(container, running)| ContainerUse { id: container.id.to_string(), running })
            .collect()
    };
    let pruned = engine.images.prune(false, |image| engine.builds.hides(image), users).await?;
    let forgotten = engine.builds.forget(|image| engine.images.get(image).is_some());
    forgotten.map_err(|error| ApiError::internal(format!("cannot write the build cache: {error}")))?;
    let deleted = pruned.removed.iter().filter_map(|removed| match removed {
        Removed::Deleted(id) => Some(id.to_string()),
        Removed::Untagged(_) => None,
    });
    let deleted: Vec<_> = deleted.collect();
    engine.events.publish(Event::now("builder", "prune", "").with("reclaimed", pruned.reclaimed.to_string()));
    Ok(Json(json!({ "CachesDeleted": deleted, "SpaceReclaimed": pruned.reclaimed })))
}
