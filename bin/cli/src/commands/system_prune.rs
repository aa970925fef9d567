//! `system prune`

use clap::Args;
use cofferdam_client::Filters;

use super::Outcome;
use super::image_prune::show_images;
use super::prune::{confirm, deleted, reclaimed};
use crate::session::Session;
use crate::values;

/// Arguments of `system prune`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
    /// Provide filter values (label=NAME)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Arguments {
    /// Removes stopped containers and networks without any, then images that nothing uses any more.
    pub async fn run(&self, session: &Session) -> Outcome {
        let filters: Filters = values::filters(&self.filter);
        let images = match self.all {
            true => "all images without at least one container associated to them",
            false => "all dangling images",
        };
        let volumes = match self.volumes {
            true => "  - all anonymous volumes not used by at least one container\n",
            false => "",
        };
        let warning = format!(
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one \
             container\n{volumes}  - {images}\n"
        );
        if !self.force && !confirm(&warning)? {
            return Ok(0);
        }
        let containers = session.client.prune_containers(&filters).await?;
        deleted("Containers", &containers.containers_deleted.unwrap_or_default())?;
        let mut space = containers.space_reclaimed.unwrap_or(0);
        if self.volumes {
            let volumes = session.client.prune_volumes(&filters).await?;
            deleted("Volumes", &volumes.volumes_deleted.unwrap_or_default())?;
            space = space.saturating_add(volumes.space_reclaimed.unwrap_or(0));
        }
        deleted(
            "Networks",
            &session.client.prune_networks(&filters).await?.networks_deleted.unwrap_or_default(),
        )?;
        let mut of_images = filters;
        of_images.add("dangling", if self.all { "false" } else { "true" });
        let images = session.client.prune_images(&of_images).await?;
        show_images(&images.images_deleted.unwrap_or_default())?;
        reclaimed(space.saturating_add(images.space_reclaimed.unwrap_or(0)))?;
        Ok(0)
    }
}
