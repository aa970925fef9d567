//! `/cofferdam/compute`: ours, not Docker's.

use cofferdam_api::{ComputeProcess, Filters};

use crate::query::{Query, segment};
use crate::{Client, ClientError, Document};

impl Client {
    /// Lists what runs containers and virtual machines on the daemon's host.
    pub async fn list_compute(&self, filters: &Filters) -> Result<Vec<ComputeProcess>, ClientError> {
        self.get("/cofferdam/compute").query(&Query::new().filters(filters)).answer().await
    }

    /// One of them, by its ID or name.
    pub async fn inspect_compute(&self, id: &str) -> Result<Document<ComputeProcess>, ClientError> {
        self.get(&format!("/cofferdam/compute/{}", segment(id))).document().await
    }

    /// Stops one of the daemon's own, at once when `force` is set.
    pub async fn stop_compute(&self, id: &str, force: bool) -> Result<(), ClientError> {
        let query = Query::new().flag("force", force);
        self.post(&format!("/cofferdam/compute/{}/stop", segment(id))).query(&query).nothing().await
    }
}
