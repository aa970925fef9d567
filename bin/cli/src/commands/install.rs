//! `image install`

use clap::Args;

use super::Outcome;
use crate::install::{self, BuiltIn};
use crate::output;
use crate::progress::{self, Sink};
use crate::report::Hinted;
use crate::session::Session;

/// Arguments of `image install`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    /// nanoserver, windowsservercore (in any case), or ls to list them
    name: String,
}

impl Arguments {
    /// Makes a built-in image and loads it.
    pub async fn run(&self, session: &Session) -> Outcome {
        if matches!(self.name.to_ascii_lowercase().as_str(), "ls" | "list") {
            output::print(&list())?;
            return Ok(0);
        }
        let image = BuiltIn::named(&self.name).ok_or_else(|| {
            Hinted::error(
                format!("no built-in image is called {:?}", self.name),
                "'cofferdam image install ls' lists them",
            )
        })?;
        // Before minutes of work: is there a daemon that takes the result?
        session.client.ping().await?;
        let say = |text: &str| {
            if !self.quiet {
                eprintln!("{text}");
            }
        };
        let archive = install::make(image, &say)?;
        let archive = tokio::fs::File::from_std(archive);
        let lines = session.client.load(archive, self.quiet).await?;
        progress::show(lines, if self.quiet { Sink::Nowhere } else { Sink::Stdout }).await?;
        Ok(0)
    }
}

fn list() -> String {
    let mut text = "NAME\tMADE OF\tNEEDS\n".to_owned();
    for image in BuiltIn::ALL {
        text += &format!("{}\t{}\t{}\n", image.name(), image.description(), image.package());
    }
    output::align(&text, 10)
}
