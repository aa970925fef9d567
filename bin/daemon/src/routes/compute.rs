//! `/cofferdam/compute`: what runs containers and virtual machines on this host. Ours, not Docker's.
//!
//! * `GET` lists [`ComputeProcess`]es, with `filters` by `id`, `name`, `owner`, `type` and `isolation`.
//! * `GET /{id}` is one of them.
//! * `POST /{id}/stop` stops one of this engine's, at once with `force=1`; another's is refused with 409.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use cofferdam_api::ComputeProcess;

use crate::compute;
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::server::Params;

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/cofferdam/compute", get(list))
        .route("/cofferdam/compute/{id}", get(inspect))
        .route("/cofferdam/compute/{id}/stop", post(stop))
}

async fn list(State(engine): State<Shared>, params: Params) -> ApiResult<Json<Vec<ComputeProcess>>> {
    let filters = params.filters()?;
    let listing = tokio::task::spawn_blocking(move || compute::list(&engine, &filters)).await;
    listing.map_err(|error| ApiError::internal(error.to_string()))?.map(Json)
}

async fn find(engine: &Shared, id: String) -> ApiResult<ComputeProcess> {
    let engine = Shared::clone(engine);
    let finding = tokio::task::spawn_blocking(move || compute::find(&engine, &id)).await;
    finding.map_err(|error| ApiError::internal(error.to_string()))?
}

async fn inspect(State(engine): State<Shared>, Path(id): Path<String>) -> ApiResult<Json<ComputeProcess>> {
    find(&engine, id).await.map(Json)
}

async fn stop(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    let process = find(&engine, id).await?;
    compute::stop(&engine, &process, params.flag("force")).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
