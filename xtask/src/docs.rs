//! What is generated and checked in.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::project::{root, run};

/// `cargo xtask docs`
#[derive(clap::Args)]
pub struct Options {
    /// Run the documents' lines, and write docs/transcripts.md
    #[arg(long)]
    transcripts: bool,
}

/// Writes it.
pub fn docs(options: &Options) -> Result<()> {
    if options.transcripts {
        let own = std::env::current_exe().context("cannot find this program")?;
        let path = root().join("docs/transcripts.md");
        let case = ["test", "--filter", "documents::line_by_line"];
        run(Command::new(own).args(case).env("COFFERDAM_TRANSCRIPT", path))?;
    }
    Ok(())
}
