//! `/volumes`

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::server::{Api, JsonBody, Params};
use crate::volumes::{self, prune};

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune_all))
        .route("/volumes/{name}", get(inspect).delete(remove).put(update))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    cluster_volume_spec: Option<Value>,
}

async fn list(State(engine): State<Shared>, params: Params) -> ApiResult<Json<Value>> {
    let filters = params.filters()?;
    filters.check(&["dangling", "driver", "label", "name"])?;
    let dangling = filters.flag("dangling")?;
    let shown = engine.volumes.all().into_iter().filter(|volume| {
        let label = |key: &str| volume.about.labels.get(key).map(String::as_str);
        filters.any("name", |wanted| volume.name.contains(wanted))
            && filters.matches("driver", "local")
            && filters.labels("label", label)
            && dangling.is_none_or(|dangling| volumes::users(&engine, &volume.name).is_empty() == dangling)
    });
    let shown: Vec<Value> = shown.map(|volume| volume.json()).collect();
    Ok(Json(json!({ "Volumes": shown, "Warnings": null })))
}

async fn create(State(engine): State<Shared>, JsonBody(body): JsonBody<CreateBody>) -> ApiResult<Response> {
    if body.cluster_volume_spec.is_some_and(|spec| !spec.is_null()) {
        return Err(ApiError::unavailable("cluster volumes need a swarm: this node is not a swarm manager"));
    }
    let shared = engine.clone();
    let making = tokio::task::spawn_blocking(move || {
        shared.volumes.make(
            &body.name.unwrap_or_default(),
            &body.driver.unwrap_or_default(),
            body.driver_opts.unwrap_or_default(),
            body.labels.unwrap_or_default(),
        )
    });
    let (volume, new) = making.await.map_err(|error| ApiError::internal(error.to_string()))??;
    if new {
        engine.events.publish(volumes::event(&volume.name, "create"));
    }
    Ok((StatusCode::CREATED, Json(volume.json())).into_response())
}

async fn inspect(State(engine): State<Shared>, Path(name): Path<String>) -> ApiResult<Json<Value>> {
    Ok(Json(engine.volumes.find(&name)?.json()))
}

async fn remove(
    State(engine): State<Shared>,
    Path(name): Path<String>,
    params: Params,
) -> ApiResult<StatusCode> {
    volumes::remove(&engine, &name, params.flag("force")).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn update() -> ApiError {
    ApiError::unavailable("only cluster volumes can be updated, and this node is not a swarm manager")
}

async fn prune_all(
    State(engine): State<Shared>,
    Api(version): Api,
    params: Params,
) -> ApiResult<Json<Value>> {
    let (names, bytes) = prune::prune(&engine, &params.filters()?, version).await?;
    Ok(Json(json!({ "VolumesDeleted": names, "SpaceReclaimed": bytes })))
}
