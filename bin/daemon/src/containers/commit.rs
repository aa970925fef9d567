//! `commit`: what a container has changed, on top of its image, is a new image.

use std::sync::Arc;

use cofferdam_image::{ContainerConfig, ExtendRequest, History, Image, Reference, Step, apply_changes};
use cofferdam_model::State;
use serde_json::Value;

use super::config::Config;
use super::{Container, create, image, layer, lifecycle};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::events::Event;

/// What to make of it.
#[derive(Debug, Default)]
pub struct Wanted {
    /// The image's name.
    pub name: Option<Reference>,
    /// Who makes it.
    pub author: String,
    /// What for.
    pub comment: String,
    /// Whether nothing in the container runs meanwhile.
    pub pause: bool,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// A configuration over the container's.
    pub config: Option<Config>,
}

/// Makes the image. Goes on when its client has gone: a container that was paused must run on.
pub async fn commit(engine: &Shared, container: &Arc<Container>, wanted: Wanted) -> ApiResult<Image> {
    let (engine, container) = (Arc::clone(engine), Arc::clone(container));
    let task = tokio::spawn(async move { make(&engine, &container, wanted).await });
    task.await.map_err(|error| ApiError::internal(format!("cannot commit: {error}")))?
}

async fn make(engine: &Shared, container: &Arc<Container>, wanted: Wanted) -> ApiResult<Image> {
    let record = container.record();
    let base = image::of(engine, &record)?;
    let own = to_image(&record.config)?;
    let config = match wanted.config {
        Some(config) => to_image(&create::merge(config, &own).map_err(ApiError::bad_request)?)?,
        None => own,
    };
    let config = {
        let mut config = config;
        apply_changes(&mut config, &wanted.changes)?;
        config
    };
    let paused = wanted.pause && container.status().state == State::Running;
    if paused {
        lifecycle::pause(container).await?;
    }
    let made = async {
        let layer = layer::layer(engine, container).await?;
        let history = History {
            created_by: record.config.cmd.iter().flatten().cloned().collect::<Vec<_>>().join(" "),
            author: wanted.author.clone(),
            comment: wanted.comment.clone(),
            ..History::default()
        };
        let request = ExtendRequest {
            base: Some(base),
            config,
            author: wanted.author,
            comment: wanted.comment.clone(),
            steps: vec![Step { history, layer: Some(layer) }],
            names: wanted.name.iter().cloned().collect(),
            ..ExtendRequest::default()
        };
        Ok::<_, ApiError>(engine.images.extend(request).await?)
    };
    let made = made.await;
    if paused
        && let Err(error) = lifecycle::unpause(container).await
        && container.status().state == State::Paused
    {
        return Err(error);
    }
    let (image, _) = made?;
    let id = image.id().to_string();
    let mut event = container.event("commit").with("comment", wanted.comment).with("imageID", id.clone());
    if let Some(name) = &wanted.name {
        engine.events.publish(Event::now("image", "tag", id).with("name", name.familiar()));
        event = event.with("imageRef", name.familiar());
    }
    engine.events.publish(event);
    Ok(image)
}

/// The part of a configuration that an image keeps.
fn to_image(config: &Config) -> ApiResult<ContainerConfig> {
    let failed =
        |error: serde_json::Error| ApiError::internal(format!("cannot read the configuration: {error}"));
    let mut json = serde_json::to_value(config).map_err(failed)?;
    if let Value::Object(fields) = &mut json {
        fields.retain(|_, value| !value.is_null());
    }
    serde_json::from_value(json).map_err(failed)
}
