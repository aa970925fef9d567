//! What Docker has and this engine has not: answered as a Docker without Swarm and plugins would, so that
//! its clients go on; what would have to do something says what it comes with.

use axum::Json;
use axum::Router;
use axum::extract::Path;
use axum::routing::{any, get, post};
use serde_json::json;

use crate::engine::Shared;
use crate::error::ApiError;

/// This group's routes.
pub fn router() -> Router<Shared> {
    let mut router = Router::new()
        .route("/plugins", get(async || Json(json!([]))))
        .route("/plugins/{*rest}", any(no_such_plugin))
        .route("/session", post(async || later("BuildKit sessions", "the issue on the whole Docker API")))
        .route("/grpc", post(async || later("BuildKit", "the issue on the whole Docker API")))
        .route(
            "/distribution/{*rest}",
            get(async || later("distribution", "the issue on the whole Docker API")),
        )
        .route("/swarm/{*rest}", any(async || no_swarm()));
    for group in ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"] {
        router = router.route(group, any(async || no_swarm()));
        if group != "/swarm" {
            router = router.route(&format!("{group}/{{*rest}}"), any(async || no_swarm()));
        }
    }
    router
}

fn later(what: &str, when: &str) -> ApiError {
    ApiError::not_implemented(what, when)
}

fn no_swarm() -> ApiError {
    ApiError::unavailable(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node \
         to swarm and try again.",
    )
}

/// There are none, and none can come in. `docker inspect` asks here, too, and takes only 404 for a no.
async fn no_such_plugin(Path(rest): Path<String>) -> ApiError {
    if ["privileges", "pull", "create"].contains(&rest.as_str()) {
        return later("installing plugins", "no issue that is planned");
    }
    let verbs = ["/json", "/enable", "/disable", "/upgrade", "/push", "/set"];
    let name = verbs.iter().find_map(|verb| rest.strip_suffix(verb)).unwrap_or(&rest);
    ApiError::not_found(format!("plugin \"{name}\" not found"))
}
