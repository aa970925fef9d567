//! Containers whose records this build cannot read: another build made them. They are named wherever somebody asks for
//! them, what their records name stays, and by force they can be removed.

use cofferdam_model::ContainerId;
use cofferdam_store::ContainerRow;

use super::start;
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its ID.
    pub id: ContainerId,
    name: String,
    /// The whole record, as it is stored.
    record: String,
    reason: String,
}

impl Unreadable {
    /// The container of this row.
    pub(super) fn new(row: ContainerRow, reason: &serde_json::Error) -> Self {
        Self { id: row.id, name: row.name, record: row.spec, reason: reason.to_string() }
    }

    /// Whether clients mean it: by a full ID, a name, or the beginning of an ID.
    pub(super) fn is(&self, reference: &str) -> bool {
        let name = reference.strip_prefix('/').unwrap_or(reference);
        self.name == name || !reference.is_empty() && self.id.as_str().starts_with(reference)
    }

    /// Whether its record has this word: a volume, an image. What cannot be read may use whatever it names.
    pub fn names(&self, word: &str) -> bool {
        self.record.contains(word)
    }

    /// What is said to whoever asks for it.
    pub(super) fn error(&self) -> ApiError {
        ApiError::conflict(format!(
            "the record of container {} ({}) is of another build of Cofferdam, and this one cannot read it ({}): start that \
             build again, or remove the container with docker rm -f {}",
            self.name,
            self.id.short(),
            self.reason,
            self.name
        ))
    }
}

/// Removes one by force: ends what runs, and forgets it. Its volumes stay.
pub async fn remove(engine: &Shared, found: Unreadable) -> ApiResult<()> {
    let engine = std::sync::Arc::clone(engine);
    let removing = tokio::task::spawn_blocking(move || {
        let cgroup = format!("{}/{}", engine.instance.cgroup_parent(), found.id);
        let bundle = engine.paths.bundle(&found.id);
        start::kill_everything(&bundle, &cgroup);
        for directory in [bundle, engine.paths.container(&found.id)] {
            start::remove_directory(&directory)
                .map_err(|error| ApiError::internal(format!("remove {}: {error}", directory.display())))?;
        }
        engine.store.remove_container(&found.id)?;
        engine.containers.forget_unreadable(&found.id);
        Ok(())
    });
    removing.await.map_err(|error| ApiError::internal(format!("cannot remove the container: {error}")))?
}
