//! `/volumes`

use cofferdam_api::Filters;
use cofferdam_api::models::{Volume, VolumeCreateRequest, VolumeListResponse, VolumePruneResponse};

use crate::query::{Query, segment};
use crate::{Client, ClientError, Document};

impl Client {
    /// Makes a volume, or finds the one of that name.
    pub async fn create_volume(&self, request: &VolumeCreateRequest) -> Result<Volume, ClientError> {
        self.post("/volumes/create").json(request).answer().await
    }

    /// The volumes.
    pub async fn list_volumes(&self, filters: &Filters) -> Result<Vec<Volume>, ClientError> {
        let list: VolumeListResponse =
            self.get("/volumes").query(&Query::new().filters(filters)).answer().await?;
        Ok(list.volumes.unwrap_or_default())
    }

    /// Everything about a volume.
    pub async fn inspect_volume(&self, name: &str) -> Result<Document<Volume>, ClientError> {
        self.get(&format!("/volumes/{}", segment(name))).document().await
    }

    /// Removes a volume that no container uses; `force` makes no error of one that does not exist.
    pub async fn remove_volume(&self, name: &str, force: bool) -> Result<(), ClientError> {
        self.delete(&format!("/volumes/{}", segment(name)))
            .query(&Query::new().flag("force", force))
            .nothing()
            .await
    }

    /// Removes the volumes that no container uses: anonymous ones, with the filter `all=true` all.
    pub async fn prune_volumes(&self, filters: &Filters) -> Result<VolumePruneResponse, ClientError> {
        self.post("/volumes/prune").query(&Query::new().filters(filters)).answer().await
    }
}
