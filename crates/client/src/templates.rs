//! `/cofferdam/templates`: ours, not Docker's.

use cofferdam_api::{Progress, TemplateSummary};

use crate::query::{Query, segment};
use crate::{Client, ClientError, JsonLines};

impl Client {
    /// Lists templates: those under construction, then the others, the last used first.
    pub async fn list_templates(&self) -> Result<Vec<TemplateSummary>, ClientError> {
        self.get("/cofferdam/templates").answer().await
    }

    /// Makes the base template for containers with these limits (bytes, and whole CPUs); `None` is no limit.
    pub async fn build_template(
        &self,
        memory: Option<i64>,
        cpus: Option<u32>,
    ) -> Result<JsonLines<Progress>, ClientError> {
        let (memory, cpus) = (memory.map(|bytes| bytes.to_string()), cpus.map(|count| count.to_string()));
        let query = Query::new().option("memory", memory.as_deref()).option("cpus", cpus.as_deref());
        self.post("/cofferdam/templates").query(&query).lines().await
    }

    /// Removes a template, by a prefix of its key.
    pub async fn remove_template(&self, key: &str) -> Result<(), ClientError> {
        self.delete(&format!("/cofferdam/templates/{}", segment(key))).nothing().await
    }
}
