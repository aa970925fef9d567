//! `create`, and what `run` shares with it: pulling a missing image, the container ID file, warnings.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use cofferdam_client::ClientError;
use cofferdam_client::models::ContainerCreateBody;

use super::body::body;
use super::options::Options;
use super::{Outcome, pull};
use crate::image_name::with_tag;
use crate::output;
use crate::progress::Sink;
use crate::report::{BeforeStart, Hinted};
use crate::session::Session;

/// Arguments of `create`.
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam create [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub struct Arguments {
    #[command(flatten)]
    options: Options,
    /// Remove the container (and its anonymous volumes) when it exits
    #[arg(long)]
    rm: bool,
}

impl Arguments {
    /// Creates, and prints the ID.
    pub async fn run(&self, session: &Session) -> Outcome {
        let body = body(&self.options, false, self.rm)?;
        output::line(create(session, &self.options, &body).await?)?;
        Ok(0)
    }
}

/// Creates a container; a missing image is pulled as `--pull` says. Gives the ID.
pub async fn create(
    session: &Session,
    options: &Options,
    body: &ContainerCreateBody,
) -> anyhow::Result<String> {
    let cidfile = options.cidfile.as_deref().map(CidFile::reserve).transpose()?;
    let image = with_tag(&options.image());
    if options.pull == "always" {
        fetch(session, options, &image).await?;
    }
    let ask = async || {
        session.client.create_container(options.name.as_deref(), options.platform.as_deref(), body).await
    };
    let created = match ask().await {
        Err(error) if options.pull == "missing" && is_missing_image(&error) => {
            eprintln!("Unable to find image '{image}' locally");
            fetch(session, options, &image).await?;
            ask().await?
        }
        answer => answer?,
    };
    options.limits.warn();
    for warning in &created.warnings {
        eprintln!("WARNING: {warning}");
    }
    if let Some(cidfile) = cidfile {
        cidfile.fill(&created.id)?;
    }
    Ok(created.id)
}

fn is_missing_image(error: &ClientError) -> bool {
    error.is_not_found() && error.to_string().to_lowercase().contains("no such image")
}

/// Pulls for a container: the output goes to standard error, which is not the container's output.
async fn fetch(session: &Session, options: &Options, image: &str) -> anyhow::Result<()> {
    let sink = if options.quiet { Sink::Nowhere } else { Sink::Stderr };
    let pulled = pull::pull(session, image, options.platform.as_deref(), sink).await;
    let is_built_in = crate::image_name::BUILT_IN.contains(&image.split(':').next().unwrap_or_default());
    pulled.map_err(|error| match is_built_in {
        true => Hinted::wrap(
            error,
            format!(
                "'cofferdam image install {}' makes it without a registry",
                image.trim_end_matches(":latest")
            ),
        ),
        false => error,
    })
}

/// The file for the container's ID: it must not exist, and exists only with an ID in it.
struct CidFile {
    file: std::fs::File,
    path: std::path::PathBuf,
    filled: bool,
}

impl CidFile {
    fn reserve(path: &Path) -> anyhow::Result<Self> {
        let file = std::fs::File::create_new(path).with_context(|| match path.exists() {
            true => format!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            ),
            false => format!("cannot create the container ID file {}", path.display()),
        })?;
        Ok(Self { file, path: path.to_owned(), filled: false })
    }

    fn fill(mut self, id: &str) -> anyhow::Result<()> {
        self.file
            .write_all(id.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.filled = true;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.filled {
            // Nothing depends on it: an empty file only has to be deleted by hand.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// [`create`] for `run`, where every failure has exit code 125.
pub async fn create_to_run(
    session: &Session,
    options: &Options,
    body: &ContainerCreateBody,
) -> anyhow::Result<String> {
    create(session, options, body).await.map_err(BeforeStart::plain)
}
