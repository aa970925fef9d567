//! `/images`. Names contain slashes, so what follows them in a path is found from its end.

mod credentials;
mod list;
mod one;
mod pattern;
mod remove;
mod save;
mod transfer;
mod upload;

pub(super) use upload::Upload;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{get, post};

use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::server::{Api, Params};

pub use list::{all, summaries};

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/images/json", get(list::list))
        .route("/images/create", post(transfer::create))
        .route("/images/load", post(transfer::load))
        .route("/images/prune", post(remove::prune))
        .route("/images/get", get(save::several))
        .route("/images/search", get(async || search_not_yet()))
        .route("/images/{*rest}", get(get_one).post(post_one).delete(remove::remove))
        // Archives are as long as they are; they are never held in memory.
        .layer(DefaultBodyLimit::disable())
}

async fn get_one(state: State<Shared>, api: Api, Path(rest): Path<String>, params: Params) -> ApiResult {
    match rest.rsplit_once('/') {
        Some((name, "json")) => one::inspect(state, api, name).await,
        Some((name, "history")) => one::history(state, name).await,
        Some((name, "get")) => save::one(state, name, &params).await,
        _ => Err(ApiError::not_found("page not found")),
    }
}

async fn post_one(state: State<Shared>, Path(rest): Path<String>, params: Params) -> ApiResult {
    match rest.rsplit_once('/') {
        Some((name, "tag")) => one::tag(state, name, &params).await,
        Some((_name, "push")) => Err(ApiError::not_implemented("push", "the issue on the whole Docker API")),
        _ => Err(ApiError::not_found("page not found")),
    }
}

fn search_not_yet() -> ApiError {
    ApiError::not_implemented("search", "no issue that is planned")
}
