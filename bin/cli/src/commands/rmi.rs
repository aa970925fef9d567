//! `rmi`

use clap::Args;

use super::Outcome;
use crate::image_name::canonical;
use crate::output;
use crate::report::{self, AlreadyReported};
use crate::session::Session;

/// Arguments of `rmi`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Arguments {
    /// Removes images.
    pub async fn run(&self, session: &Session) -> Outcome {
        let mut failed = false;
        for image in &self.images {
            match session.client.remove_image(&canonical(image), self.force, self.no_prune).await {
                Ok(removed) => {
                    for item in removed {
                        if let Some(name) = item.untagged {
                            output::line(format!("Untagged: {name}"))?;
                        }
                        if let Some(id) = item.deleted {
                            output::line(format!("Deleted: {id}"))?;
                        }
                    }
                }
                Err(error) => {
                    let missing = error.is_not_found();
                    report::say(&error.into());
                    // Docker: with --force what is not there is no failure.
                    failed |= !(self.force && missing);
                }
            }
        }
        if failed { Err(AlreadyReported.into()) } else { Ok(0) }
    }
}
