//! The streams of `/containers`: attach, logs, wait.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::{get, post};
use cofferdam_api::{MULTIPLEXED_STREAM, RAW_STREAM};
use futures_util::stream;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::containers::attach::{Attach, Request};
use crate::containers::logs;
use crate::containers::wait::{Condition, Wait};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::server::{Api, Hijack, Params, websocket};

/// Pieces of log between reader and client.
const PIECES: usize = 4;

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/containers/{id}/attach", post(attach))
        .route("/containers/{id}/attach/ws", get(attach_websocket))
        .route("/containers/{id}/logs", get(logs_of))
        .route("/containers/{id}/wait", post(wait))
}

async fn attach(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    params: Params,
    hijack: Hijack,
) -> ApiResult {
    let container = engine.containers.find(&id)?;
    let attach = Attach::begin(&engine, &container, wanted(&params)).await?;
    Ok(hijack.respond(container.record().config.tty, |client| attach.serve(client)))
}

async fn attach_websocket(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    params: Params,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> ApiResult {
    let container = engine.containers.find(&id)?;
    let upgrade = upgrade.map_err(|refusal| ApiError::bad_request(refusal.body_text()))?;
    let attach = Attach::begin(&engine, &container, wanted(&params)).await?;
    Ok(websocket::respond(upgrade, container.record().config.tty, |client| attach.serve(client)))
}

/// What is to be attached, as both ways of attaching say it.
fn wanted(params: &Params) -> Request {
    Request {
        stdin: params.flag("stdin"),
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        logs: params.flag("logs"),
        stream: params.flag("stream"),
        detach_keys: params.get("detachKeys").map(str::to_owned),
    }
}

async fn logs_of(
    State(engine): State<Shared>,
    Path(id): Path<String>,
    params: Params,
    Api(version): Api,
) -> ApiResult {
    let container = engine.containers.find(&id)?;
    let record = container.record();
    let (stdout, stderr) = (params.flag("stdout"), params.flag("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::bad_request("Bad parameters: you must choose at least one stream"));
    }
    let log = logs::Log::of(&engine, &container).ok_or_else(|| {
        ApiError::new(
            axum::http::StatusCode::NOT_IMPLEMENTED,
            "configured logging driver does not support reading",
        )
    })?;
    let tail = match params.get("tail") {
        // Docker takes everything that is no number for all.
        Some(text) => text.parse::<usize>().ok(),
        None => None,
    };
    let raw = record.config.tty;
    let options = logs::Options {
        stdout,
        stderr,
        follow: params.flag("follow"),
        timestamps: params.flag("timestamps"),
        details: params.flag("details"),
        tail,
        since: params.timestamp("since")?,
        until: params.timestamp("until")?,
        raw,
    };
    let (sink, pieces) = mpsc::channel(PIECES);
    tokio::spawn(logs::send(log, options, container.watch(), sink));
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(pieces)));
    let framed = !raw && version.announces_multiplexed_stream();
    let content_type = if framed { MULTIPLEXED_STREAM } else { RAW_STREAM };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// The headers go out at once, which tells the client that its wait has begun; the body comes when it is over.
async fn wait(State(engine): State<Shared>, Path(id): Path<String>, params: Params) -> ApiResult {
    let container = engine.containers.find(&id)?;
    let wait = Wait::begin(&container, Condition::parse(params.get("condition"))?);
    let body = stream::once(async move {
        let answer = json!({ "StatusCode": wait.finish().await });
        Ok::<_, std::convert::Infallible>(Bytes::from(format!("{answer}\n")))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
