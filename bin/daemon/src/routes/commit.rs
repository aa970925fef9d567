//! `/commit`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use cofferdam_image::Reference;
use serde_json::{Value, json};

use super::containers::read;
use crate::containers::commit::{self, Wanted};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::server::{JsonBody, Params};

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new().route("/commit", post(commit_one))
}

async fn commit_one(
    State(engine): State<Shared>,
    params: Params,
    JsonBody(body): JsonBody<Value>,
) -> ApiResult<Response> {
    let container = params.get("container").unwrap_or_default();
    let container = engine.containers.find(container)?;
    let wanted = Wanted {
        name: name(&params)?,
        author: params.get("author").unwrap_or_default().to_owned(),
        comment: params.get("comment").unwrap_or_default().to_owned(),
        pause: params.flag_or("pause", true),
        changes: params.all("changes").map(str::to_owned).collect(),
        config: if body.is_null() { None } else { Some(read(body)?) },
    };
    let image = commit::commit(&engine, &container, wanted).await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": image.id().to_string() }))).into_response())
}

fn name(params: &Params) -> ApiResult<Option<Reference>> {
    let Some(repository) = params.get("repo") else { return Ok(None) };
    let invalid = |error: &dyn std::fmt::Display| ApiError::bad_request(error.to_string());
    let name = Reference::parse_any_case(repository).map_err(|error| invalid(&error))?;
    if name.digest().is_some() {
        return Err(ApiError::bad_request("refusing to create a tag with a digest reference"));
    }
    Ok(Some(match params.get("tag") {
        Some(tag) => name.with_tag(tag).map_err(|error| invalid(&error))?,
        None => name,
    }))
}
