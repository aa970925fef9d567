//! `GET /images/json`

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use cofferdam_api::{ApiVersion, Filters};
use cofferdam_image::Image;
use serde_json::{Value, json};

use super::pattern;
use crate::engine::{Engine, Shared};
use crate::error::ApiResult;
use crate::server::{Api, Params, parse_timestamp};

/// Every image, newest first.
pub async fn all(engine: &Engine) -> ApiResult<Vec<Image>> {
    let mut images = engine.images.list();
    images.sort_by_key(|image| std::cmp::Reverse(created(image)));
    Ok(images)
}

/// Every image as `/images/json` and `/system/df` show it, with the number of its containers.
pub async fn summaries(engine: &Engine, version: ApiVersion) -> ApiResult<Vec<Value>> {
    let images = all(engine).await?;
    let containers = |image: &Image| engine.containers.using_image(&image.id().to_string()).len();
    Ok(images
        .iter()
        .map(|image| summary(image, version, i64::try_from(containers(image)).unwrap_or(-1)))
        .collect())
}

pub async fn list(State(engine): State<Shared>, Api(version): Api, params: Params) -> ApiResult {
    let mut filters = params.filters()?;
    filters.check(&["before", "dangling", "label", "label!", "reference", "since", "until"])?;
    if let Some(old) = params.get("filter") {
        // How clients before API 1.28 filtered by name.
        filters.add("reference", old);
    }
    let limits = Limits::of(&filters, &engine).await?;
    let dangling = filters.flag("dangling")?;
    let images = all(&engine).await?;
    let shown: Vec<Value> = images
        .iter()
        .filter(|image| {
            let label = |name: &str| image.container_config().labels.get(name).map(String::as_str);
            (params.flag("all") || !engine.builds.hides(image))
                && limits.allow(image)
                && dangling.is_none_or(|dangling| dangling == image.is_dangling())
                && filters.labels("label", label)
                && (!filters.has("label!") || !filters.labels("label!", label))
        })
        .map(|image| summary(image, version, -1))
        .filter_map(|summary| by_reference(summary, &filters))
        .collect();
    Ok(Json(shown).into_response())
}

/// Bounds on an image's age.
#[derive(Default)]
struct Limits {
    /// Younger than all of these.
    since: Vec<i64>,
    /// Older than all of these.
    before: Vec<i64>,
}

impl Limits {
    async fn of(filters: &Filters, engine: &Engine) -> ApiResult<Self> {
        let mut limits = Self::default();
        for name in filters.values("since") {
            limits.since.push(created(&engine.images.resolve(name)?));
        }
        for name in filters.values("before") {
            limits.before.push(created(&engine.images.resolve(name)?));
        }
        for time in filters.values("until") {
            let invalid = || cofferdam_api::InvalidFilters::Value { key: "until".into(), value: time.into() };
            limits.before.push(parse_timestamp(time).ok_or_else(invalid)?.div_euclid(1_000_000_000));
        }
        Ok(limits)
    }

    fn allow(&self, image: &Image) -> bool {
        let created = created(image);
        self.since.iter().all(|since| created > *since) && self.before.iter().all(|before| created < *before)
    }
}

/// Leaves the names that match the `reference` filter; an image without any is not shown.
fn by_reference(mut summary: Value, filters: &Filters) -> Option<Value> {
    if !filters.has("reference") {
        return Some(summary);
    }
    let mut any = false;
    for key in ["RepoTags", "RepoDigests"] {
        if let Some(names) = summary[key].as_array_mut() {
            names.retain(|name| {
                let name = name.as_str().unwrap_or_default();
                filters.any("reference", |wanted| matches_name(&wanted.to_lowercase(), name))
            });
            any |= !names.is_empty();
        }
    }
    any.then_some(summary)
}

/// A pattern is for the whole name, or for the name without tag or digest.
fn matches_name(wanted: &str, name: &str) -> bool {
    let repository = match name.split_once('@') {
        Some((repository, _digest)) => repository,
        None => match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => name,
        },
    };
    pattern::matches(wanted, name) || pattern::matches(wanted, repository)
}

/// When the image was made, as Unix time; 0 when it does not say, as Docker has it for reproducible images.
pub fn created(image: &Image) -> i64 {
    image.config().created_at().map_or(0, jiff::Timestamp::as_second)
}

fn summary(image: &Image, version: ApiVersion, containers: i64) -> Value {
    let size = image.size();
    let mut summary = json!({
        "Id": image.id().to_string(),
        "ParentId": "",
        "RepoTags": image.repo_tags(),
        "RepoDigests": image.repo_digests(),
        "Created": created(image),
        "Size": size,
        "SharedSize": -1,
        "Labels": image.container_config().labels,
        "Containers": containers,
    });
    if version.has_virtual_size() {
        summary["VirtualSize"] = json!(size);
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_matches_with_or_without_its_tag() {
        for (wanted, name) in [
            ("busybox", "busybox:1.36"),
            ("busybox:1.*", "busybox:1.36"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("*/x", "localhost:5000/x:latest"),
            ("busybox", "busybox@sha256:00"),
        ] {
            assert!(matches_name(wanted, name), "{wanted} {name}");
        }
        assert!(!matches_name("busy", "busybox:latest"));
        assert!(!matches_name("*", "localhost:5000/x:latest"));
    }
}
