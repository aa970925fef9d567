//! `import`

use anyhow::Context as _;
use clap::Args;
use cofferdam_client::Import;

use super::Outcome;
use crate::image_name;
use crate::progress::{self, Sink};
use crate::report::Hinted;
use crate::session::Session;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long)]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    platform: Option<String>,
    /// A file, or - for standard input
    #[arg(value_name = "FILE|-")]
    source: String,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

impl Arguments {
    /// Makes an image of a root file system.
    pub async fn run(&self, session: &Session) -> Outcome {
        if self.source.starts_with("http://") || self.source.starts_with("https://") {
            return Err(Hinted::error(
                "cannot import from a URL",
                "download it first: curl -L URL | cofferdam import - NAME",
            ));
        }
        let (repository, tag) = image_name::split(self.reference.as_deref().unwrap_or_default());
        let what = Import {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            message: self.message.clone().unwrap_or_default(),
            changes: self.change.clone(),
            platform: self.platform.clone().unwrap_or_default(),
        };
        let lines = if self.source == "-" {
            session.client.import(tokio::io::stdin(), &what).await?
        } else {
            let file = tokio::fs::File::open(&self.source)
                .await
                .with_context(|| format!("cannot open {}", self.source))?;
            session.client.import(file, &what).await?
        };
        progress::show(lines, Sink::Stdout).await?;
        Ok(0)
    }
}
