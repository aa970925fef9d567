//! A new container's volumes: found or made, and filled with what its image has in their place.

use super::layers::Layers;
use super::mounts::MountKind;
use super::record::Record;
use super::{Container, image};
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult};
use crate::volumes;

/// Finds each volume by its name or makes it. The gate is held shared.
pub(super) async fn claim(engine: &Shared, record: &mut Record) -> ApiResult<()> {
    if record.mounts.iter().all(|mount| mount.kind != MountKind::Volume) {
        return Ok(());
    }
    let shared = engine.clone();
    let (mut mounts, driver) = (record.mounts.clone(), record.host.volume_driver.clone());
    let claiming = tokio::task::spawn_blocking(move || {
        for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Volume) {
            let options = std::mem::take(&mut mount.volume_options);
            let config = options.driver_config.unwrap_or_default();
            let driver = if config.name.is_empty() { driver.as_str() } else { config.name.as_str() };
            let (volume, new) = shared.volumes.make(&mount.name, driver, config.options, options.labels)?;
            if new {
                shared.events.publish(volumes::event(&volume.name, "create"));
            }
            mount.name.clone_from(&volume.name);
            mount.source = volume.source().to_string_lossy().into_owned();
            mount.writable &= !volume.is_read_only();
        }
        Ok::<_, ApiError>(mounts)
    });
    record.mounts = claiming.await.map_err(|error| ApiError::internal(error.to_string()))??;
    Ok(())
}

/// Fills those that are empty.
pub(super) async fn fill(engine: &Shared, record: &Record) -> ApiResult<()> {
    let wants = |mount: &&super::mounts::MountPoint| mount.kind == MountKind::Volume && mount.copy;
    let wanted: Vec<_> = record.mounts.iter().filter(wants).cloned().collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let lower = image::lower_dirs(engine, record).await?;
    let shared = engine.clone();
    let filling = tokio::task::spawn_blocking(move || {
        let layers = Layers::open(lower.iter().map(std::path::PathBuf::as_path))
            .map_err(|error| ApiError::internal(format!("cannot open the image's layers: {error}")))?;
        for mount in wanted {
            let volume = shared.volumes.find(&mount.name)?;
            volumes::fill(&volume, &layers, &mount.destination).map_err(|error| {
                ApiError::internal(format!("failed to populate volume {}: {error}", mount.name))
            })?;
        }
        Ok(())
    });
    filling.await.map_err(|error| ApiError::internal(error.to_string()))?
}

/// Removes the anonymous ones again when the container came to nothing.
pub(super) async fn give_back(engine: &Shared, record: &Record) {
    let gone = volumes::take_anonymous(engine, &record.mounts).await;
    let _ = tokio::task::spawn_blocking(move || drop(gone)).await;
}

/// Says of each volume that it is mounted, or is not any more.
pub(super) fn announce(engine: &Engine, container: &Container, action: &str) {
    for mount in container.record().mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
        let mut event = volumes::event(&mount.name, action).with("container", container.id.as_str());
        if action == "mount" {
            event = event
                .with("destination", mount.destination.clone())
                .with("propagation", mount.propagation.clone())
                .with("read/write", mount.writable.to_string());
        }
        engine.events.publish(event);
    }
}
