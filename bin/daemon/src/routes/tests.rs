//! The routes over a real engine on temporary roots: no root user, no network, no container.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::config::{Config, Flags};
use crate::engine::Shared;
use crate::events::Event;

/// An engine without a default network, and the directory that it lives in.
fn engine() -> (Shared, TempDir) {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).display().to_string();
    let (data, exec) = (path("data"), path("exec"));
    let flags =
        Flags::parse_from_args(&["--data-root", &data, "--exec-root", &exec, "--bridge", "none"]).unwrap();
    let config = Config::from_flags(flags).unwrap();
    (crate::startup::open(config).unwrap(), root)
}

async fn ask(router: &Router, method: &str, path: &str, body: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).header("Content-Type", "application/json");
    let response = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn an_empty_engine_answers_as_docker_does() {
    let (engine, _root) = engine();
    let router = super::router(engine);
    for (path, want) in [
        ("/images/json", json!([])),
        ("/containers/json", json!([])),
        ("/volumes", json!({ "Volumes": [], "Warnings": null })),
        ("/plugins", json!([])),
    ] {
        let (status, body) = ask(&router, "GET", path, "").await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), want, "{path}");
    }
    let (_, networks) = ask(&router, "GET", "/networks", "").await;
    let networks: Vec<Value> = serde_json::from_str(&networks).unwrap();
    assert_eq!(networks.iter().map(|n| n["Name"].as_str().unwrap()).collect::<Vec<_>>(), ["host", "none"]);
    let (_, info) = ask(&router, "GET", "/info", "").await;
    let info: cofferdam_api::Info = serde_json::from_str(&info).unwrap();
    let cofferdam = info.cofferdam.unwrap();
    assert_eq!(cofferdam.default_isolation, "process");
    assert!(cofferdam.network_warning.contains("--bridge none"));
    assert_eq!(info.system.images, Some(0));
    let (_, version) = ask(&router, "GET", "/version", "").await;
    let version: cofferdam_api::Version = serde_json::from_str(&version).unwrap();
    assert_eq!(version.platform.unwrap().name, "Cofferdam");
}

#[tokio::test]
async fn bad_requests_name_the_thing() {
    let (engine, _root) = engine();
    let router = super::router(engine);
    for (method, path, status, message) in [
        ("GET", "/nowhere", 404, "page not found"),
        ("PATCH", "/info", 404, "page not found"),
        ("GET", "/images/no/such/json", 404, "No such image: no/such:latest"),
        ("GET", "/images/x/y/z", 404, "page not found"),
        ("DELETE", "/images/nope", 404, "No such image: nope:latest"),
        ("POST", "/images/nope/tag?repo=x", 404, "No such image: nope:latest"),
        ("POST", "/images/create?fromImage=a%20b", 400, "invalid reference format"),
        ("POST", "/images/create", 400, "invalid reference format: neither fromImage nor fromSrc was given"),
        ("POST", "/images/create?fromImage=x&platform=windows/amd64", 400, "unsupported operating system"),
        ("GET", "/images/json?filters=%7B", 400, "invalid filter: "),
        ("GET", "/images/json?filters=%7B%22foo%22%3A%5B%22bar%22%5D%7D", 400, "invalid filter 'foo'"),
        ("GET", "/events?since=yesterday", 400, "invalid value for \"since\""),
        ("GET", "/containers/nope/json", 404, "No such container: nope"),
        ("GET", "/networks/nope", 404, "network nope not found"),
        ("DELETE", "/networks/none", 403, "none is a pre-defined network and cannot be removed"),
        ("GET", "/volumes/nope", 404, "get nope: no such volume"),
        ("GET", "/nodes", 503, "This node is not a swarm manager."),
        ("POST", "/images/load", 400, "invalid archive: "),
    ] {
        let (found, body) = ask(&router, method, path, "").await;
        let body: Value =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
        assert_eq!(found.as_u16(), status, "{method} {path}: {body}");
        let text = body["message"].as_str().unwrap_or_default();
        assert!(text.starts_with(message), "{method} {path}: {text}");
    }
}

#[tokio::test]
async fn past_and_coming_events_are_told_until_the_end() {
    let (engine, _root) = engine();
    engine.events.publish(Event::now("image", "pull", "old").with("name", "old"));
    let router = super::router(Arc::clone(&engine));
    let until = jiff::Timestamp::now() + Duration::from_secs(1);
    let path = format!(
        "/events?since=1&until={}&filters=%7B%22type%22%3A%5B%22image%22%5D%7D",
        until.as_second() + 1
    );
    let listener = tokio::spawn(async move { ask(&router, "GET", &path, "").await });
    while engine.events.listeners() == 0 {
        tokio::task::yield_now().await;
    }
    engine.events.publish(Event::now("container", "start", "filtered"));
    engine.events.publish(Event::now("image", "tag", "new"));
    let (status, body) = listener.await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let ids: Vec<String> = body
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["Actor"]["ID"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["old", "new"]);
}
