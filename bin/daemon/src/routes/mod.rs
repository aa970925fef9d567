//! The Docker Engine API's paths. One file per group; the version in front of a path is off by now.

mod absent;
mod archive;
mod build;
mod commit;
mod compute;
mod containers;
mod containers_streams;
mod disk_usage;
mod events;
mod exec;
mod images;
mod networks;
mod policy;
mod system;
mod templates;
#[cfg(test)]
mod tests;
mod volumes;

use axum::Router;

use crate::engine::Shared;
use crate::error::ApiError;

/// All routes.
pub fn router(engine: Shared) -> Router {
    Router::new()
        .merge(system::router())
        .merge(disk_usage::router())
        .merge(events::router())
        .merge(images::router())
        .merge(networks::router())
        .merge(volumes::router())
        .merge(containers::router())
        .merge(archive::router())
        .merge(commit::router())
        .merge(exec::router())
        .merge(templates::router())
        .merge(compute::router())
        .merge(policy::router())
        .merge(build::router())
        .merge(absent::router())
        .fallback(page_not_found)
        .method_not_allowed_fallback(page_not_found)
        .with_state(engine)
}

/// Docker's answer to paths and methods that it does not know.
async fn page_not_found() -> ApiError {
    ApiError::not_found("page not found")
}
