//! What is generated and checked in.

mod cmdlets;
mod module;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::project::{root, run};

/// `cargo xtask docs`
#[derive(clap::Args)]
pub struct Options {
    /// Run the documents' lines, too, and write docs/transcripts.md
    #[arg(long)]
    transcripts: bool,
}

/// Writes it.
pub fn docs(options: &Options) -> Result<()> {
    for (path, text) in generated() {
        let whole = root().join(&path);
        fs::create_dir_all(whole.parent().context("a file is in a directory")?)?;
        fs::write(&whole, text).with_context(|| format!("write {}", whole.display()))?;
        println!("{}", path.display());
    }
    if options.transcripts {
        let own = std::env::current_exe().context("cannot find this program")?;
        let path = root().join("docs/transcripts.md");
        let case = ["test", "--filter", "documents::line_by_line"];
        run(Command::new(own).args(case).env("COFFERDAM_TRANSCRIPT", path))?;
    }
    Ok(())
}

/// What comes from the table of cmdlets.
fn generated() -> Vec<(PathBuf, String)> {
    let module = module::files().into_iter();
    let mut all: Vec<_> =
        module.map(|(name, text)| (PathBuf::from("powershell/Cofferdam").join(name), text)).collect();
    all.push(("docs/cmdlets.md".into(), cmdlets::page()));
    all
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_checked_in_is_current() {
        for (path, text) in super::generated() {
            let there = std::fs::read_to_string(crate::project::root().join(&path)).unwrap_or_default();
            assert!(there == text, "{} is not current: run `cargo xtask docs`", path.display());
        }
    }
}
