//! `/containers/{id}/archive`, `export` and `changes`.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use cofferdam_model::{ArchiveOrder, ArchiveStat, ChangeKind};
use serde_json::{Value, json};

use super::images::Upload;
use crate::containers::archive::{self, Job};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::server::Params;

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/containers/{id}/archive", get(read).head(stat).put(write))
        .route("/containers/{id}/export", get(export))
        .route("/containers/{id}/changes", get(changes))
}

fn path(params: &Params) -> ApiResult<&str> {
    let path = params.get("path").ok_or_else(|| ApiError::bad_request("missing parameter in path: path"))?;
    if path.contains('\0') { Err(ApiError::bad_request("the path contains a NUL byte")) } else { Ok(path) }
}

fn stat_header(stat: &ArchiveStat) -> ApiResult<HeaderValue> {
    let text = base64::engine::general_purpose::STANDARD.encode(archive::stat_json(stat).to_string());
    HeaderValue::try_from(text).map_err(|error| ApiError::internal(error.to_string()))
}

async fn stat(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    let container = engine.containers.find(&id)?;
    let stat = archive::stat(&engine, &container, path(&params)?).await?;
    Ok(([("x-docker-container-path-stat", stat_header(&stat)?)], ()).into_response())
}

async fn read(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    let container = engine.containers.find(&id)?;
    let (stat, job, begun) = archive::read(&engine, &container, path(&params)?).await?;
    let mut response = stream(job, begun, "application/x-tar");
    response.headers_mut().insert("x-docker-container-path-stat", stat_header(&stat)?);
    Ok(response)
}

async fn write(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    params: Params,
    body: Body,
) -> ApiResult<()> {
    let container = engine.containers.find(&id)?;
    let upload = Upload::new(body);
    let (keep, own) = (params.flag("noOverwriteDirNonDir"), params.flag("copyUIDGID"));
    archive::write(&engine, &container, path(&params)?, keep, own, upload).await
}

async fn export(State(engine): State<Shared>, Path(id): Path<String>) -> ApiResult {
    let container = engine.containers.find(&id)?;
    let job = Job::start(&engine, &container, &ArchiveOrder::Export).await?;
    engine.events.publish(container.event("export"));
    Ok(stream(job, Vec::new(), "application/octet-stream"))
}

async fn changes(State(engine): State<Shared>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    let container = engine.containers.find(&id)?;
    let changes = archive::changes(&engine, &container).await?;
    let changes: Vec<Value> = changes
        .into_iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            };
            json!({ "Path": change.path, "Kind": kind })
        })
        .collect();
    Ok(Json(if changes.is_empty() { Value::Null } else { json!(changes) }))
}

/// An archive as it is made; one that breaks off breaks the connection.
fn stream(job: Job, begun: Vec<u8>, kind: &'static str) -> Response {
    let mut response = Response::new(Body::from_stream(archive::pieces(job, begun)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
