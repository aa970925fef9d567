//! Images that go out as an archive: `GET /images/get`, `GET /images/{name}/get`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use cofferdam_image::Platform;
use serde::Deserialize;

use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult};
use crate::events::Event;
use crate::server::Params;

pub async fn several(State(engine): State<Shared>, params: Params) -> ApiResult {
    // Old clients send one parameter with commas in it.
    let names: Vec<String> = params
        .all("names")
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(ApiError::bad_request("no image is named: want ?names=IMAGE"));
    }
    save(&engine, &names, &params)
}

pub async fn one(State(engine): State<Shared>, name: &str, params: &Params) -> ApiResult {
    save(&engine, &[name.to_owned()], params)
}

/// The archive as it is read from the store. Its length is known, so one that breaks off is seen to.
fn save(engine: &Engine, names: &[String], params: &Params) -> ApiResult {
    let archive = engine.images.save(names, platform(params)?.as_ref())?;
    for id in archive.images() {
        engine.events.publish(Event::now("image", "save", id.to_string()).with("name", id.to_string()));
    }
    let length = HeaderValue::from(archive.length());
    let mut response = Response::new(Body::from_stream(archive.into_stream()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    Ok(response)
}

/// The `platform` of API 1.48 and later: JSON, in the shape that image indexes have it in.
pub fn platform(params: &Params) -> ApiResult<Option<Platform>> {
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Wire {
        os: String,
        architecture: String,
        variant: String,
    }
    let mut given = params.all("platform").filter(|text| !text.is_empty());
    let Some(text) = given.next() else { return Ok(None) };
    let invalid = |reason: &dyn std::fmt::Display| {
        ApiError::bad_request(format!("invalid platform {text:?}: {reason}"))
    };
    if given.next().is_some() {
        return Err(invalid(&"more than one: an image here is for one platform"));
    }
    let wire: Wire = serde_json::from_str(text).map_err(|error| invalid(&error))?;
    if wire.os.is_empty() || wire.architecture.is_empty() {
        return Err(invalid(&"want os and architecture"));
    }
    let variant = Some(wire.variant).filter(|variant| !variant.is_empty());
    Ok(Some(Platform { os: wire.os, architecture: wire.architecture, variant }))
}
