//! `/cofferdam/policy`: ours, not Docker's.

use cofferdam_api::PolicyReport;

use crate::query::Query;
use crate::{Client, ClientError, Document};

impl Client {
    /// The isolation policy, and what it says about an image, for a container with these labels from this front.
    pub async fn policy(
        &self,
        image: Option<&str>,
        labels: &[String],
        front: Option<&str>,
    ) -> Result<Document<PolicyReport>, ClientError> {
        let query = Query::new().option("image", image).option("front", front);
        let query = labels.iter().fold(query, |query, label| query.text("label", label));
        self.get("/cofferdam/policy").query(&query).document().await
    }
}
