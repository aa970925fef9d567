//! What a container needs of its image.

use std::path::PathBuf;

use cofferdam_image::Image;
use cofferdam_model::Isolation;

use super::record::Record;
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};
use crate::policy;

/// An image's files, in the form that a level wants them.
pub enum Files {
    /// Layer directories, topmost first.
    Layers(Vec<PathBuf>),
    /// One read-only disk.
    Erofs(PathBuf),
}

/// The image a client names.
pub fn find(engine: &Engine, name: &str) -> ApiResult<Image> {
    Ok(engine.images.resolve(name)?)
}

/// The image of a container; it cannot have been removed as long as the container exists.
pub fn of(engine: &Engine, record: &Record) -> ApiResult<Image> {
    let id = record
        .image
        .parse()
        .map_err(|_invalid| ApiError::internal(format!("bad image ID {}", record.image)))?;
    engine
        .images
        .get(&id)
        .ok_or_else(|| ApiError::not_found(format!("No such image: {}", record.config.image)))
}

/// Whether the isolation policy lets a container have this level: asked before each start, and before a conversion to it.
pub fn permits(engine: &Engine, record: &Record, level: Isolation) -> ApiResult<()> {
    policy::level(engine, &of(engine, record)?, &record.config.labels, record.owner, Some(level)).map(drop)
}

/// The programs that a container's image names as what it is for.
pub fn programs(engine: &Engine, record: &Record) -> Vec<String> {
    let Ok(image) = of(engine, record) else { return Vec::new() };
    let config = image.container_config();
    let words = [&config.entrypoint, &config.cmd];
    words.into_iter().filter_map(|words| words.as_ref()?.first().cloned()).collect()
}

/// The layers of a container's image, topmost first.
pub async fn lower_dirs(engine: &Engine, record: &Record) -> ApiResult<Vec<PathBuf>> {
    Ok(engine.images.lower_dirs(&of(engine, record)?).await?)
}

/// The image's disk for the hyperv level, built when it is first needed.
pub async fn erofs(engine: &Engine, record: &Record) -> ApiResult<PathBuf> {
    Ok(engine.images.erofs(&of(engine, record)?).await?)
}

/// The image's files for the container's level, and its layers in any case.
pub async fn files(engine: &Engine, record: &Record) -> ApiResult<(Files, Vec<PathBuf>)> {
    let layers = lower_dirs(engine, record).await?;
    match record.isolation {
        Isolation::Process => Ok((Files::Layers(layers.clone()), layers)),
        Isolation::Hyperv => Ok((Files::Erofs(erofs(engine, record).await?), layers)),
    }
}
