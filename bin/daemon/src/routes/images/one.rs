//! One image: inspect, history, tag.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use cofferdam_api::ApiVersion;
use cofferdam_image::{Digest, HistoryLine, Image, Reference};
use serde_json::{Value, json};

use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::events::Event;
use crate::server::{Api, Params};

pub async fn inspect(State(engine): State<Shared>, Api(version): Api, name: &str) -> ApiResult {
    let image = engine.images.resolve(name)?;
    Ok(Json(description(&image, version)).into_response())
}

fn description(image: &Image, version: ApiVersion) -> Value {
    let config = image.config();
    let mut json = json!({
        "Id": image.id().to_string(),
        "RepoTags": image.repo_tags(),
        "RepoDigests": image.repo_digests(),
        "Parent": "",
        "Comment": config.comment,
        "DockerVersion": "",
        "Author": config.author,
        "Config": config.config,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size(),
        "GraphDriver": { "Name": "overlayfs", "Data": {} },
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
        "Cofferdam": { "Origins": image.origins().iter().map(ToString::to_string).collect::<Vec<_>>() },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
    });
    if !config.created.is_empty() {
        json["Created"] = json!(config.created);
    }
    if !config.variant.is_empty() {
        json["Variant"] = json!(config.variant);
    }
    if version.has_virtual_size() {
        json["VirtualSize"] = json!(image.size());
    }
    if !version.has_oci_image_config() {
        fill_old_config(&mut json["Config"]);
    }
    if version.has_image_container() {
        json["Container"] = json!("");
    }
    // API 1.45 left it out, but docker-compose 1.29, which Debian still has, reads it whatever version it negotiates.
    json["ContainerConfig"] = json!({});
    fill_old_config(&mut json["ContainerConfig"]);
    json
}

/// Clients before API 1.50 find every field of a container's configuration in an image's.
fn fill_old_config(config: &mut Value) {
    let defaults = json!({
        "Hostname": "", "Domainname": "", "User": "",
        "AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
        "Tty": false, "OpenStdin": false, "StdinOnce": false,
        "Env": null, "Cmd": null, "Image": "", "Volumes": null, "WorkingDir": "",
        "Entrypoint": null, "OnBuild": null, "Labels": null,
    });
    if let (Some(config), Value::Object(defaults)) = (config.as_object_mut(), defaults) {
        for (key, value) in defaults {
            config.entry(key).or_insert(value);
        }
    }
}

pub async fn history(State(engine): State<Shared>, name: &str) -> ApiResult {
    let image = engine.images.resolve(name)?;
    let items: Vec<Value> = engine.images.history(&image).iter().map(history_item).collect();
    Ok(Json(items).into_response())
}

fn history_item(line: &HistoryLine) -> Value {
    let created = line.step.created.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second);
    json!({
        "Id": line.id.as_ref().map_or("<missing>".to_owned(), Digest::to_string),
        "Created": created,
        "CreatedBy": line.step.created_by,
        "Tags": if line.tags.is_empty() { Value::Null } else { json!(line.tags) },
        "Size": line.size,
        "Comment": line.step.comment,
    })
}

pub async fn tag(State(engine): State<Shared>, name: &str, params: &Params) -> ApiResult {
    let image = engine.images.resolve(name)?;
    let repository = params.get("repo").unwrap_or_default();
    let reference = Reference::parse_any_case(repository).map_err(|error| {
        ApiError::bad_request(format!(
            "error parsing reference: {repository:?} is not a valid repository/tag: {error}"
        ))
    })?;
    if reference.digest().is_some() {
        return Err(ApiError::bad_request("refusing to create a tag with a digest reference"));
    }
    let reference = match params.get("tag") {
        Some(tag) => reference.with_tag(tag).map_err(|error| ApiError::bad_request(error.to_string()))?,
        None => reference,
    };
    engine.images.tag(&image, &reference).await?;
    engine
        .events
        .publish(Event::now("image", "tag", image.id().to_string()).with("name", reference.familiar()));
    Ok(StatusCode::CREATED.into_response())
}
