//! The fuzz targets. Their twins with proptest run in every `cargo xtask test`, on stable.

use anyhow::{Result, bail};

use crate::project::{capture, cargo, root, run, which};

/// `cargo xtask fuzz`
#[derive(clap::Args)]
pub struct Options {
    /// Only this target
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs each target for a while.
pub fn fuzz(options: &Options) -> Result<()> {
    if which("cargo-fuzz").is_none() {
        bail!("cargo-fuzz is not installed: `cargo install cargo-fuzz`, and a nightly toolchain by rustup");
    }
    let listed = capture(cargo(&["fuzz", "list"]).current_dir(root()))?;
    let targets =
        listed.lines().filter(|name| options.target.as_deref().is_none_or(|wanted| wanted == *name));
    for target in targets {
        println!("== {target} ==");
        let time = format!("-max_total_time={}", options.seconds);
        // Not through this toolchain's cargo: the targets need a nightly one.
        let mut command = std::process::Command::new("cargo");
        run(command.args(["+nightly", "fuzz", "run", target, "--", &time]).current_dir(root()))?;
    }
    Ok(())
}
