//! `save`

use std::path::PathBuf;

use clap::Args;

use super::{Outcome, export};
use crate::image_name;
use crate::session::Session;

/// Arguments of `save`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Save only the given platform variant (os/arch[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Arguments {
    /// Writes the images as one archive.
    pub async fn run(&self, session: &Session) -> Outcome {
        export::refuse_terminal(self.output.as_deref())?;
        let images: Vec<String> = self.images.iter().map(|image| image_name::canonical(image)).collect();
        let platform = self.platform.as_deref().map(image_name::platform).transpose()?;
        let archive = session.client.save(&images, platform.as_deref()).await?;
        export::write(archive, self.output.as_deref()).await?;
        Ok(0)
    }
}
