//! A Debian of the host's own release, made from the host's own package sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::project::{bounded, capture, which};

/// How long a mirror may take.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Runs mmdebstrap with these options; `what` is an archive or a directory that it makes.
pub fn bootstrap(options: &[&str], what: &Path) -> Result<()> {
    ensure!(which("mmdebstrap").is_some(), "mmdebstrap was not found: run `cargo xtask packages`");
    let suite = suite()?;
    let mut command = Command::new("mmdebstrap");
    command.arg("--quiet").args(options);
    let settings = capture(Command::new("apt-config").args(["dump", "--no-empty", "Acquire"]))?;
    for line in settings.lines().filter(|line| line.to_ascii_lowercase().contains("::proxy")) {
        command.arg(format!("--aptopt={line}"));
    }
    command.arg(&suite).arg(what).args(sources(&suite));
    bounded(&mut command, LIMIT, "mmdebstrap")
}

/// The host's release.
fn suite() -> Result<String> {
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = system.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(suite.context("this host is no released Debian")?.trim_matches('"').to_owned())
}

/// The files of package sources that are Debian's own: third parties have no `main` of this release.
fn sources(suite: &str) -> Vec<PathBuf> {
    let mut sources = vec![PathBuf::from("/etc/apt/sources.list")];
    let more = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    sources.extend(more.map(|entry| entry.path()));
    sources.retain(|source| {
        let text = fs::read_to_string(source).unwrap_or_default();
        let words: Vec<&str> = text.split_whitespace().collect();
        words.contains(&"main") && words.contains(&suite)
    });
    sources
}
