//! `pull`

use clap::Args;

use super::Outcome;
use crate::image_name;
use crate::output;
use crate::progress::{self, Sink};
use crate::session::Session;

/// Arguments of `pull`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long)]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    image: String,
}

impl Arguments {
    /// Pulls.
    pub async fn run(&self, session: &Session) -> Outcome {
        let image = image_name::canonical(&self.image);
        let (_, tag) = image_name::split(&image);
        let reference = match (self.all_tags, tag) {
            (true, "") => image.clone(),
            (true, _) => anyhow::bail!("a tag cannot be used with --all-tags"),
            (false, "") => {
                if !self.quiet {
                    output::line("Using default tag: latest")?;
                }
                image_name::with_tag(&image)
            }
            (false, _) => image.clone(),
        };
        let sink = if self.quiet { Sink::Nowhere } else { Sink::Stdout };
        pull(session, &reference, self.platform.as_deref(), sink).await?;
        // The last line is what can be used: the name with its registry.
        output::line(full_name(&reference))?;
        Ok(0)
    }
}

/// Pulls a reference (all tags when it has none), with the credentials that are kept for its registry.
pub async fn pull(
    session: &Session,
    reference: &str,
    platform: Option<&str>,
    sink: Sink,
) -> anyhow::Result<()> {
    let auth = session.config.credentials(image_name::registry(reference))?;
    let (repository, tag) = image_name::split(reference);
    let lines = session.client.pull(repository, tag, platform, auth.as_ref()).await?;
    progress::show(lines, sink).await?;
    Ok(())
}

/// `docker.io/library/busybox:latest`
fn full_name(reference: &str) -> String {
    if reference.starts_with("docker.io/") || image_name::registry(reference) != "docker.io" {
        return reference.to_owned();
    }
    match reference.contains('/') {
        true => format!("docker.io/{reference}"),
        false => format!("docker.io/library/{reference}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        assert_eq!(full_name("busybox:1"), "docker.io/library/busybox:1");
        assert_eq!(full_name("user/x:1"), "docker.io/user/x:1");
        assert_eq!(full_name("localhost:5000/x:1"), "localhost:5000/x:1");
    }
}
