//! `image prune`

use clap::Args;
use cofferdam_client::models::ImageDeleteResponseItem;

use super::Outcome;
use super::prune::{confirm, reclaimed};
use crate::output;
use crate::session::Session;
use crate::values;

/// Arguments of `image prune`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (until=TIMESTAMP, label=NAME)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Arguments {
    /// Removes unused images.
    pub async fn run(&self, session: &Session) -> Outcome {
        let mut filters = values::filters(&self.filter);
        filters.add("dangling", if self.all { "false" } else { "true" });
        let warning = match self.all {
            true => "WARNING! This will remove all images without at least one container associated to them.",
            false => "WARNING! This will remove all dangling images.",
        };
        if !self.force && !confirm(warning)? {
            return Ok(0);
        }
        let pruned = session.client.prune_images(&filters).await?;
        show_images(&pruned.images_deleted.unwrap_or_default())?;
        reclaimed(pruned.space_reclaimed.unwrap_or(0))?;
        Ok(0)
    }
}

/// Lists what is gone, when anything is.
pub fn show_images(deleted: &[ImageDeleteResponseItem]) -> std::io::Result<()> {
    if deleted.is_empty() {
        return Ok(());
    }
    let mut text = "Deleted Images:\n".to_owned();
    for item in deleted {
        if let Some(name) = &item.untagged {
            text += &format!("untagged: {name}\n");
        }
        if let Some(id) = &item.deleted {
            text += &format!("deleted: {id}\n");
        }
    }
    output::line(text)
}
