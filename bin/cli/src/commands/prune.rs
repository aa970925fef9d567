//! `container prune`, and asking before something is removed.

use std::io::Write as _;

use clap::Args;

use super::Outcome;
use crate::output::{self, human_size};
use crate::session::Session;
use crate::values;

/// Arguments of `container prune`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Provide filter values (until=TIMESTAMP, label=NAME)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<values::Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

impl Arguments {
    /// Removes stopped containers.
    pub async fn run(&self, session: &Session) -> Outcome {
        let filters = values::filters(&self.filter);
        if !self.force && !confirm("WARNING! This will remove all stopped containers.")? {
            return Ok(0);
        }
        let pruned = session.client.prune_containers(&filters).await?;
        deleted("Containers", &pruned.containers_deleted.unwrap_or_default())?;
        reclaimed(pruned.space_reclaimed.unwrap_or(0))?;
        Ok(0)
    }
}

/// Asks; anything but a yes is a no.
pub fn confirm(warning: &str) -> anyhow::Result<bool> {
    print!("{warning}\nAre you sure you want to continue? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Lists what is gone, when anything is.
pub fn deleted(kind: &str, names: &[String]) -> std::io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    output::line(format!("Deleted {kind}:\n{}\n", names.join("\n")))
}

/// The last line.
pub fn reclaimed(bytes: i64) -> std::io::Result<()> {
    output::line(format!("Total reclaimed space: {}", human_size(bytes as f64, 4)))
}
