//! `/exec`, and `/containers/{id}/exec`: programs in running containers.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use cofferdam_model::WindowSize;
use serde::Deserialize;
use serde_json::{Value, json};

use super::containers::{read, window};
use crate::containers::exec::{self, ExecRequest, Starting};
use crate::engine::Shared;
use crate::error::ApiResult;
use crate::server::{Hijack, JsonBody, Params};

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/containers/{id}/exec", post(create))
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/resize", post(resize))
        .route("/exec/{id}/json", get(inspect))
}

async fn create(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult {
    let container = engine.containers.find(&id)?;
    let request: ExecRequest = read(body)?;
    let id = exec::create(&engine, &container, request)?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": id }))).into_response())
}

/// The body of `POST /exec/{id}/start`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StartRequest {
    /// Whether nobody waits for output.
    detach: bool,
    /// The client's console, height and width.
    console_size: Option<[u16; 2]>,
}

async fn start(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    hijack: Hijack,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult {
    let request: StartRequest = read(body)?;
    let (container, exec) = exec::find(&engine, &id)?;
    let tty = exec.tty();
    let starting = Starting::begin(&engine, container, exec)?;
    if request.detach {
        starting.detached().await?;
        return Ok(StatusCode::OK.into_response());
    }
    let size = request.console_size.map(|[height, width]| WindowSize { height, width });
    Ok(hijack.respond(tty, move |client| starting.serve(client, size)))
}

async fn resize(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult<StatusCode> {
    exec::resize(&engine, &id, window(&params)?).await?;
    Ok(StatusCode::OK)
}

async fn inspect(State(engine): State<Shared>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    exec::inspect(&engine, &id).map(Json)
}
