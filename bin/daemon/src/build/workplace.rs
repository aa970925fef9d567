//! A build's directory: its context, the layer that it writes, and the name of its container.

use std::fs;
use std::path::{Path, PathBuf};

use crate::containers::remove;
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};

/// Removed when it is dropped, or by the next daemon.
pub struct Workplace(PathBuf);

impl Workplace {
    /// A new one.
    pub fn new(engine: &Shared) -> ApiResult<Self> {
        let path = engine.paths.builds().join(cofferdam_model::random_hex(8));
        let made = fs::create_dir_all(&path);
        made.map_err(|error| ApiError::internal(format!("cannot create {}: {error}", path.display())))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// An empty directory in it: what an image from scratch begins with.
    pub fn empty(&self) -> ApiResult<PathBuf> {
        let path = self.0.join("empty");
        let made = fs::create_dir_all(&path);
        made.map_err(|error| ApiError::internal(format!("cannot create {}: {error}", path.display())))?;
        Ok(path)
    }

    /// Notes a container's name before there is one, so that it is found whatever happens.
    pub fn note(&self, name: &str) -> ApiResult<()> {
        fs::write(self.0.join("container"), name)
            .map_err(|error| ApiError::internal(format!("cannot note the step's container: {error}")))
    }

    /// The container is gone, or is to stay.
    pub fn forget(&self) {
        let _ = fs::remove_file(self.0.join("container"));
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // With a container noted the directory stays until that is removed: the next daemon reads it.
        if !self.0.join("container").exists() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Removes what builds of a daemon that died have left. Containers are known by now.
pub async fn sweep(engine: &Shared) {
    let Ok(entries) = fs::read_dir(engine.paths.builds()) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()) {
        if let Ok(name) = fs::read_to_string(path.join("container"))
            && let Ok(container) = engine.containers.find(&name)
            && let Err(error) = remove::remove_container(engine, &container, true, true).await
        {
            tracing::warn!("cannot remove a build's container {name}: {error}");
            continue;
        }
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
    }
}
