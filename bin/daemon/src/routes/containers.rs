//! `/containers`: making, looking at, and acting on containers. Streams are in [`super::containers_streams`].

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cofferdam_api::{FRONT_HEADER, Owner};
use cofferdam_model::WindowSize;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::containers_streams;
use crate::containers::config::{CreateRequest, HostConfig, lenient};
use crate::containers::{
    Container, convert, create, inspect, lifecycle, list, prune, remove, stats, top, unreadable,
};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult, chain};
use crate::server::{JsonBody, JsonLines, Params, json_lines};

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/containers/json", get(list_all))
        .route("/containers/create", post(create_one))
        .route("/containers/prune", post(prune_all))
        .route("/containers/{id}", delete(remove_one))
        .route("/containers/{id}/json", get(inspect_one))
        .route("/containers/{id}/start", post(start))
        .route("/containers/{id}/stop", post(stop))
        .route("/containers/{id}/restart", post(restart))
        .route("/containers/{id}/kill", post(kill))
        .route("/containers/{id}/pause", post(pause))
        .route("/containers/{id}/unpause", post(unpause))
        .route("/containers/{id}/rename", post(rename))
        .route("/containers/{id}/update", post(update))
        .route("/containers/{id}/resize", post(resize))
        .route("/containers/{id}/top", get(top_of))
        .route("/containers/{id}/stats", get(stats_of))
        .merge(containers_streams::router())
}

fn later(what: &str, when: &str) -> ApiError {
    ApiError::not_implemented(what, when)
}

/// Reads a lenient body.
pub(super) fn read<T: serde::de::DeserializeOwned + Default>(body: Value) -> ApiResult<T> {
    if body.is_null() {
        return Ok(T::default());
    }
    lenient(body).map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))
}

async fn list_all(State(engine): State<Shared>, params: Params) -> ApiResult<Json<Vec<Value>>> {
    let limit = params
        .number::<i64>("limit")?
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0);
    let query =
        list::Query { all: params.flag("all"), limit, size: params.flag("size"), filters: params.filters()? };
    if !query.size {
        return list::list(&engine, &query).map(Json);
    }
    let listing = tokio::task::spawn_blocking(move || list::list(&engine, &query));
    listing.await.map_err(|error| ApiError::internal(error.to_string()))?.map(Json)
}

async fn create_one(
    State(engine): State<Shared>,
    params: Params,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult {
    if body.is_null() {
        return Err(ApiError::bad_request("invalid JSON: got EOF while reading request body"));
    }
    let request: CreateRequest = read(body)?;
    let (id, warnings) = create::create(&engine, params.get("name"), owner(&headers), request).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": id, "Warnings": warnings }))).into_response())
}

/// Whose request it is.
fn owner(headers: &HeaderMap) -> Owner {
    let cmdlet = headers.get(FRONT_HEADER).is_some_and(|front| front == Owner::FRONT);
    if cmdlet { Owner::Vmms } else { Owner::Docker }
}

async fn prune_all(State(engine): State<Shared>, params: Params) -> ApiResult<Json<Value>> {
    let (ids, bytes) = prune::prune(&engine, &params.filters()?).await?;
    let ids = if ids.is_empty() { Value::Null } else { json!(ids) };
    Ok(Json(json!({ "ContainersDeleted": ids, "SpaceReclaimed": bytes })))
}

async fn remove_one(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    if params.flag("link") {
        return Err(later("removing links", "the networks issue"));
    }
    if params.flag("force")
        && let Some(found) = engine.containers.unreadable(&id)
    {
        unreadable::remove(&engine, found).await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let container = engine.containers.find(&id)?;
    remove::remove_container(&engine, &container, params.flag("force"), params.flag("v")).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn inspect_one(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult<Json<Value>> {
    let container = engine.containers.find(&id)?;
    if !params.flag("size") {
        return Ok(Json(inspect::inspect(&engine, &container, false)));
    }
    let looking = tokio::task::spawn_blocking(move || inspect::inspect(&engine, &container, true));
    looking.await.map(Json).map_err(|error| ApiError::internal(error.to_string()))
}

/// 204 when something was done, 304 when nothing was to do.
fn done(changed: bool) -> ApiResult {
    if changed { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(ApiError::not_modified()) }
}

/// Ours beside Docker's: with `trace=1` the answer is a JSON list of the start's moments, each what was done and when
/// in microseconds of the host's monotonic clock; the first is the request.
async fn start(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    let container = engine.containers.find(&id)?;
    if !params.flag("trace") {
        return done(lifecycle::start(&container).await?);
    }
    container.begin_trace();
    let begin = ("start asked for".to_owned(), cofferdam_sys::trace::now());
    let started = lifecycle::start(&container).await;
    let mut marks = container.end_trace();
    if !started? {
        return Err(ApiError::not_modified());
    }
    marks.insert(0, begin);
    Ok(Json(marks).into_response())
}

async fn stop(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    let container = engine.containers.find(&id)?;
    done(lifecycle::stop(&engine, &container, params.get("signal"), params.number("t")?).await?)
}

async fn restart(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    let container = engine.containers.find(&id)?;
    lifecycle::restart(&engine, &container, params.get("signal"), params.number("t")?).await?;
    done(true)
}

async fn kill(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    let container = engine.containers.find(&id)?;
    lifecycle::kill(&container, &id, params.get("signal")).await?;
    done(true)
}

async fn pause(State(engine): State<Shared>, Path(id): Path<String>) -> ApiResult {
    lifecycle::pause(&*engine.containers.find(&id)?).await?;
    done(true)
}

async fn unpause(State(engine): State<Shared>, Path(id): Path<String>) -> ApiResult {
    lifecycle::unpause(&*engine.containers.find(&id)?).await?;
    done(true)
}

async fn rename(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    let container = engine.containers.find(&id)?;
    lifecycle::rename(&container, params.get("name").unwrap_or_default()).await?;
    done(true)
}

/// Docker's `UpdateConfig` is a part of its `HostConfig`. Ours beside it: `Isolation` converts the container to that level,
/// with `restart=1` also one that runs; with `dryrun=1` the answer lists what stands in the way, and nothing is done.
async fn update(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    params: Params,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult<Json<Value>> {
    let container = engine.containers.find(&id)?;
    let mut wanted: HostConfig = read(body)?;
    let isolation = std::mem::take(&mut wanted.isolation);
    if params.flag("dryrun") {
        let blockers = convert::dry_run(&engine, &container, &isolation, params.flag("restart"))?;
        return Ok(Json(json!({ "Warnings": null, "Blockers": blockers })));
    }
    if !isolation.is_empty() {
        convert::convert(&engine, &container, &isolation, params.flag("restart")).await?;
    }
    let only = !isolation.is_empty() && wanted == HostConfig::default();
    let warnings = if only { Vec::new() } else { lifecycle::update(&engine, &container, wanted).await? };
    Ok(Json(json!({ "Warnings": warnings })))
}

/// Height and width of a TTY.
pub(super) fn window(params: &Params) -> ApiResult<WindowSize> {
    let side = |name: &str| -> ApiResult<u16> {
        let value = params.get(name).unwrap_or_default();
        value
            .parse()
            .map_err(|error| ApiError::bad_request(format!("invalid resize {name} {value:?}: {error}")))
    };
    Ok(WindowSize { height: side("h")?, width: side("w")? })
}

async fn resize(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult<StatusCode> {
    let (container, size) = (engine.containers.find(&id)?, window(&params)?);
    container.resize(&engine, size).await?;
    Ok(StatusCode::OK)
}

async fn top_of(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult<Response> {
    let container: Arc<Container> = engine.containers.find(&id)?;
    let processes = container.processes().await?;
    let arguments = params.get("ps_args").unwrap_or_default();
    let context = top::Context {
        now: Timestamp::now(),
        memory: cofferdam_sys::procfs::memory_total(),
        zone: TimeZone::system(),
    };
    let (titles, rows) =
        top::render(arguments, &processes, &context).map_err(|error| ApiError::bad_request(chain(&error)))?;
    engine.events.publish(container.event("top"));
    Ok(Json(json!({ "Titles": titles, "Processes": rows })).into_response())
}

/// Samples, one a second until the client goes away; a single one without `stream`, which with `one-shot` is not waited
/// for and has nothing to compare with.
async fn stats_of(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult<Response> {
    let container = engine.containers.find(&id)?;
    let (goes_on, at_once) = (params.flag_or("stream", true), params.flag("one-shot"));
    if goes_on && at_once {
        return Err(ApiError::bad_request("cannot have stream=true and one-shot=true"));
    }
    drop(engine);
    if goes_on {
        return Ok(json_lines(move |lines: JsonLines| stats::stream(container, lines)));
    }
    let first = stats::sample(&container).await;
    let sample = if at_once || !first.is_live() { first } else { stats::after(&container, &first).await };
    Ok(Json(sample.to_json()).into_response())
}
