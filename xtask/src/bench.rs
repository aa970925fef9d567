//! `cargo xtask bench`: what the engine costs, and what others cost for the same work, in one run.
//!
//! `docs/benchmark.md` says what is measured and how. [`room`] is where; [`engine::Engine`] is who, [`interleave`] in
//! which order; `lifecycle`, `throughput`, `density`, `inside` and `transfer` are what; [`report`] is what comes out.

mod chart;
mod density;
mod engine;
mod engines;
mod figure;
pub mod host;
mod image;
mod inside;
mod interleave;
mod lab;
mod lifecycle;
mod peers;
mod programs;
mod report;
mod room;
mod stats;
mod table;
mod tcp;
mod throughput;
mod timed;
mod transfer;
mod volume;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::project::{build_release, release, target};
use crate::{cpu, guest, packages};
use figure::Spec;
use peers::Peer;

/// `cargo xtask bench`
#[derive(clap::Args)]
pub struct Options {
    /// Install the engines to measure beside ours, naming the packages first, and measure nothing
    #[arg(long)]
    install_peers: bool,
    /// How many samples of each command; figures that take long have fewer
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// How many at the hyperv level, where a start takes seconds without KVM (usually a third of the others)
    #[arg(long)]
    hyperv_runs: Option<usize>,
    /// A first impression: 3 samples, and few idle containers
    #[arg(long, conflicts_with = "runs")]
    quick: bool,
    /// Only figures whose name contains one of these (with commas between)
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    only: Vec<String>,
    /// Which other engines: all, none, or some of docker,gvisor,podman,ctr,runc,bwrap
    #[arg(long, value_name = "NAMES", default_value = "all")]
    peers: String,
    /// Only this level of ours: process or hyperv
    #[arg(long)]
    level: Option<String>,
    /// Where numbers, table and charts go
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The directory of the binaries to measure, with the guest in `../guest` (default: the release build's)
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// Take packages, guest and binaries as they are
    #[arg(long)]
    no_build: bool,
    /// What this process is in the benchmark
    #[arg(long, hide = true)]
    stage: Option<Stage>,
    /// The directory of the run
    #[arg(long, hide = true)]
    dir: Option<PathBuf>,
}

/// The processes of a benchmark that are this program.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Stage {
    /// The first process of the room
    Init,
    /// The one that measures
    Measure,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Measure => "measure",
        }
    }
}

impl Options {
    fn runs(&self, slow: bool) -> usize {
        let runs = if self.quick { 3 } else { self.runs.max(1) };
        if slow {
            self.hyperv_runs.unwrap_or(if self.quick { 2 } else { runs.div_ceil(3) }).max(1)
        } else {
            runs
        }
    }

    fn crowd(&self, slow: bool) -> usize {
        match (self.quick, slow) {
            (false, false) => 20,
            (false, true) => 8,
            (true, false) => 8,
            (true, true) => 3,
        }
    }

    fn wants(&self, spec: &Spec) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| spec.name.contains(part.as_str()))
    }

    fn wants_level(&self, level: &str) -> bool {
        self.level.as_deref().is_none_or(|wanted| wanted == level)
    }

    fn peers(&self) -> Result<Vec<Peer>> {
        Peer::parse(&self.peers)
    }
}

/// The file in a run's directory that asks the measuring stage to end.
const STOP: &str = "stop";

/// Measures, prints and writes; or installs what to measure beside.
pub fn bench(options: &Options) -> Result<ExitCode> {
    match (options.stage, &options.dir) {
        (Some(Stage::Init), Some(dir)) => room::keep(dir),
        (Some(Stage::Measure), Some(dir)) => {
            let report = lab::measure(options, dir)?;
            let out = options.out.clone().unwrap_or_else(|| target().join("bench"));
            println!("\n{}\n{}", report.write(&out)?, out.display());
            Ok(ExitCode::SUCCESS)
        }
        _ if options.install_peers => peers::install().map(|()| ExitCode::SUCCESS),
        _ => outside(options).map(|()| ExitCode::SUCCESS),
    }
}

/// Prepares what needs the host's network, sends the rest into the room, and looks at what is left.
fn outside(options: &Options) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("containers need root");
    }
    // Wrong words are told before anything is built.
    options.peers()?;
    if let Some(level) = options.level.as_deref().filter(|level| !["process", "hyperv"].contains(level)) {
        bail!("no isolation level is called {level:?}: process, hyperv");
    }
    if !options.no_build {
        packages::install()?;
        guest::guest(Vec::new())?;
        build_release()?;
    }
    let programs = options.bin_dir.as_ref().map_or_else(|| Ok(release()), std::path::absolute)?;
    if transfer::wanted(|spec| options.wants(spec)) {
        image::debian()?;
    }
    let dir = tempfile::Builder::new().prefix("cofferdam-bench-").tempdir()?.keep();
    let outcome = image::make_small(&dir).and_then(|()| {
        let programs = programs::copy(&programs, &dir)?;
        // The measuring stage ends in good order, and is waited for.
        let stop = dir.join(STOP);
        ctrlc::set_handler(move || drop(std::fs::write(&stop, ""))).context("handle Ctrl-C")?;
        room::enter(&dir, &programs)
    });
    let mut left = cpu::remove_groups(&group(&dir)?);
    left.extend(cpu::remove_groups(&format!("cofferdam-{}", instance(&dir)?)));
    if outcome.is_err() && !dir.join(STOP).exists() {
        last_words(&dir);
    }
    std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    left.extend(cofferdam_tests::leftovers(&instance(&dir)?, &dir));
    if !left.is_empty() {
        eprintln!("left behind: {}", left.join("; "));
    }
    outcome?;
    if !left.is_empty() {
        bail!("the host is not as before");
    }
    Ok(())
}

/// Shows how the daemons' logs end, which are about to go.
fn last_words(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(log) = std::fs::read_to_string(entry.path().join("log")) else { continue };
        eprintln!("last words of {}:", entry.file_name().display());
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(8)..] {
            eprintln!("  {line}");
        }
    }
}

/// The control group of a run, by its directory, whose name no other run has.
fn group(dir: &Path) -> Result<String> {
    Ok(dir.file_name().context("a directory has a name")?.to_string_lossy().into_owned())
}

/// The name of our daemon on the host.
fn instance(dir: &Path) -> Result<String> {
    let sum = group(dir)?.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Ok(format!("b{:04x}", sum & 0xffff))
}
