//! `tag`

use clap::Args;

use super::Outcome;
use crate::image_name::{canonical, split};
use crate::session::Session;

/// Arguments of `tag`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

impl Arguments {
    /// Gives an image a further name.
    pub async fn run(&self, session: &Session) -> Outcome {
        if self.target.contains('@') {
            anyhow::bail!("refusing to create a tag with a digest reference");
        }
        let target = canonical(&self.target);
        let (repository, tag) = split(&target);
        let tag = if tag.is_empty() { "latest" } else { tag };
        session.client.tag(&canonical(&self.source), repository, tag).await?;
        Ok(0)
    }
}
