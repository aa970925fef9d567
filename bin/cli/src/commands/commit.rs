//! `commit`

use clap::{ArgAction, Args};
use cofferdam_client::Commit;

use super::Outcome;
use crate::image_name;
use crate::session::Session;

/// Arguments of `commit`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long, value_name = "AUTHOR")]
    author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Commit message
    #[arg(short, long)]
    message: Option<String>,
    /// Pause container during commit
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", action = ArgAction::Set)]
    pause: bool,
    container: String,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

impl Arguments {
    /// Makes an image of the container.
    pub async fn run(&self, session: &Session) -> Outcome {
        let (repository, tag) = image_name::split(self.reference.as_deref().unwrap_or_default());
        let what = Commit {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            author: self.author.clone().unwrap_or_default(),
            comment: self.message.clone().unwrap_or_default(),
            changes: self.change.clone(),
            pause: self.pause,
        };
        println!("{}", session.client.commit(&self.container, &what).await?);
        Ok(0)
    }
}
