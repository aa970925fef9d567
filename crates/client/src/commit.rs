//! `/commit`.

use cofferdam_api::models::IdResponse;

use crate::query::Query;
use crate::{Client, ClientError};

/// What a container's changes become.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// `repository`, or empty for an image without a name.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Who makes it.
    pub author: String,
    /// What for.
    pub comment: String,
    /// Dockerfile instructions that change its configuration.
    pub changes: Vec<String>,
    /// Whether the container is paused meanwhile.
    pub pause: bool,
}

impl Client {
    /// Makes an image of a container; its ID.
    pub async fn commit(&self, container: &str, what: &Commit) -> Result<String, ClientError> {
        let mut query = Query::new()
            .text("container", container)
            .text("repo", &what.repository)
            .text("tag", &what.tag)
            .text("author", &what.author)
            .text("comment", &what.comment)
            .text("pause", if what.pause { "1" } else { "0" });
        for change in &what.changes {
            query = query.text("changes", change);
        }
        Ok(self.post("/commit").query(&query).answer::<IdResponse>().await?.id)
    }
}
