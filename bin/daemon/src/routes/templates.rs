//! `/cofferdam/templates`: what utility VMs are cloned from. Ours, not Docker's.
//!
//! * `GET` lists [`TemplateSummary`]s, those under construction first.
//! * `POST ?memory=BYTES&cpus=N` makes the base template of that class, of the default class without them, with a
//!   progress line for each step.
//! * `DELETE /{key}` removes one, by a prefix of its key.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use axum::{Json, Router};
use cofferdam_api::{Progress, TemplateSummary};

use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::server::{JsonLines, Params, json_lines};
use crate::templates::{self, Making};
use crate::vm;

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/cofferdam/templates", get(list).post(build))
        .route("/cofferdam/templates/{key}", delete(remove))
}

async fn list(State(engine): State<Shared>) -> ApiResult {
    let under_way = engine.templates.under_way().into_iter().map(|(key, status)| TemplateSummary {
        key,
        status,
        ..TemplateSummary::default()
    });
    let complete = engine.templates.list().into_iter().map(|(record, size, used)| TemplateSummary {
        image: record.image.unwrap_or_default(),
        key: record.key,
        status: "ready".to_owned(),
        kernel: record.kernel,
        hypervisor: record.hypervisor,
        accelerator: record.accelerator,
        cpus: record.cpus,
        memory: record.memory,
        size,
        created: record.created,
        last_used: jiff::Timestamp::try_from(used).map_or(record.created, jiff::Timestamp::as_second),
    });
    Ok(Json(under_way.chain(complete).collect::<Vec<_>>()).into_response())
}

async fn remove(State(engine): State<Shared>, Path(key): Path<String>) -> ApiResult {
    let removing = tokio::task::spawn_blocking(move || engine.templates.remove(&key)).await;
    removing.map_err(|error| ApiError::internal(error.to_string()))??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn build(State(engine): State<Shared>, params: Params) -> ApiResult {
    let number = |name: &str| -> ApiResult<i64> {
        let Some(text) = params.get(name) else { return Ok(0) };
        let parsed = text.parse().ok().filter(|number| *number >= 0);
        parsed.ok_or_else(|| ApiError::bad_request(format!("invalid {name} {text:?}: want a number")))
    };
    let (memory, cpus) = (number("memory")?, number("cpus")?);
    let cpus = u32::try_from(cpus).ok().filter(|cpus| *cpus > 0);
    let class = vm::class_of(&engine, memory, cpus).await;
    let watched = templates::watch_base(&engine, class, true).await;
    let (key, mut state) = watched.map_err(ApiError::unavailable)?;
    Ok(json_lines(move |lines: JsonLines| async move {
        let short = key[..12].to_owned();
        loop {
            let now = state.borrow_and_update().clone();
            let (line, last) = match now {
                Making::At(step) => (Progress::of(&short, step), false),
                Making::Ended(None) => (Progress::of(&short, "ready"), true),
                Making::Ended(Some(reason)) => (Progress::failed(reason), true),
            };
            if !lines.send(line.to_line()).await || last || state.changed().await.is_err() {
                return;
            }
        }
    }))
}
