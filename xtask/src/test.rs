//! Everything that proves the project: one command.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::project::{bounded, build_release, cargo, release, run, which};
use crate::{demo, guest, host, licences, packages, schema};

/// `cargo xtask test`
#[derive(clap::Args)]
pub struct Options {
    /// Only these steps: format, lint, licences, build, unit, e2e, host, demo (repeatable)
    #[arg(long = "step", value_name = "STEP")]
    steps: Vec<Step>,
    /// Only end-to-end cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Only end-to-end cases of this level: process, hyperv, or engine (where the level does not matter)
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// The end-to-end cases on a host of this kind, in a VM (docs/testing.md)
    #[arg(long, value_name = "KIND", conflicts_with = "steps")]
    host: Option<host::Kind>,
    /// Take guest and release build as they are
    #[arg(long, requires = "host")]
    no_build: bool,
}

impl Options {
    /// What the harness takes: a level's prefix with what follows, or a part of a name.
    fn cases(&self) -> Option<String> {
        match (&self.level, &self.filter) {
            (Some(level), filter) => Some(format!("{level}::{}", filter.as_deref().unwrap_or_default())),
            (None, filter) => filter.clone(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Step {
    /// rustfmt
    Format,
    /// clippy, no warning allowed
    Lint,
    /// Licences of all dependencies
    Licences,
    /// Guest and release build
    Build,
    /// The crates' own tests: what needs root or the guest says so by name without it
    Unit,
    /// The end-to-end table
    E2e,
    /// A few cases of it on a host with control groups of version 2, in a VM
    Host,
    /// The demonstration
    Demo,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Format,
        Self::Lint,
        Self::Licences,
        Self::Build,
        Self::Unit,
        Self::E2e,
        Self::Host,
        Self::Demo,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Format => "formatting",
            Self::Lint => "lints",
            Self::Licences => "licences",
            Self::Build => "guest and release build",
            Self::Unit => "unit tests",
            Self::E2e => "end-to-end table",
            Self::Host => "control groups of version 2",
            Self::Demo => "demonstration",
        }
    }

    fn take(self, options: &Options) -> Result<()> {
        match self {
            Self::Format => run(&mut cargo(&["fmt", "--all", "--check"])),
            Self::Lint => {
                let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
                run(&mut cargo(&lint))
            }
            Self::Licences => licences::check(),
            Self::Unit => {
                // Tests of the runtime start the helper that lies beside them, and VMs with the guest of the build.
                run(&mut cargo(&["build", "--workspace", "--bins", "--locked"]))?;
                without_skips(&["test", "--workspace", "--exclude", "cofferdam-tests", "--locked"])?;
                without_skips(&["test", "--package", "cofferdam-tests", "--lib", "--locked"])
            }
            Self::Build => {
                guest::guest(Vec::new())?;
                build_release()
            }
            Self::E2e => match options.host {
                Some(kind) => host::end_to_end(kind, options.cases()),
                None => end_to_end(options),
            },
            Self::Host => host::smoke(),
            Self::Demo => demo::as_test(),
        }
    }
}

/// Takes every step, or the chosen ones, and goes on after a failure: one run tells everything.
pub fn test(options: &Options) -> Result<()> {
    packages::install()?;
    let steps = if !options.steps.is_empty() {
        options.steps.clone()
    } else if options.no_build {
        vec![Step::E2e]
    } else if options.filter.is_some() || options.level.is_some() || options.host.is_some() {
        vec![Step::Build, Step::E2e]
    } else {
        Step::ALL.to_vec()
    };
    let mut taken: Vec<(Step, Result<()>, Duration)> = Vec::new();
    for step in steps {
        let built = taken.iter().all(|(before, outcome, _)| *before != Step::Build || outcome.is_ok());
        if !built {
            taken.push((step, Err(anyhow::anyhow!("not run: the build failed")), Duration::ZERO));
            continue;
        }
        println!("\n== {} ==", step.title());
        let start = Instant::now();
        let outcome = step.take(options);
        if let Err(error) = &outcome {
            println!("{}: {error:#}", step.title());
        }
        taken.push((step, outcome, start.elapsed()));
    }
    println!("\n== summary ==");
    for (step, outcome, time) in &taken {
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("test {} ... {word} ({} s)", step.title(), time.as_secs());
    }
    let failed = taken.iter().filter(|(_, outcome, _)| outcome.is_err()).count();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {} passed; {failed} failed", taken.len() - failed);
    if failed > 0 {
        bail!("{failed} of {} steps failed", taken.len());
    }
    Ok(())
}

/// Runs tests and shows what they say. One that cannot do its work here prints `skipped:` and why; in CI, where nothing
/// may be missing, that is a failure.
fn without_skips(arguments: &[&str]) -> Result<()> {
    let mut command = cargo(arguments);
    let mut child = command.args(["--", "--show-output"]).stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(child.stdout.take().context("no output")?);
    let reader = std::thread::spawn(move || -> std::io::Result<usize> {
        let mut skipped = 0;
        for line in output.lines() {
            let line = line?;
            skipped += usize::from(line.starts_with("skipped:"));
            println!("{line}");
        }
        Ok(skipped)
    });
    if !child.wait()?.success() {
        bail!("some tests failed");
    }
    // What a test leaves running holds the output open.
    let end = Instant::now() + Duration::from_secs(10);
    while !reader.is_finished() {
        if Instant::now() > end {
            bail!("a test left a process behind, which holds its output open");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let skipped = reader.join().map_err(|_panic| anyhow::anyhow!("the reader panicked"))??;
    if skipped > 0 && std::env::var_os("CI").is_some() {
        bail!("{skipped} tests could not do their work here: see the lines that begin with \"skipped:\"");
    }
    Ok(())
}

fn end_to_end(options: &Options) -> Result<()> {
    // Without it some cases say that they did not run, which fails the run in CI.
    if let Err(error) = schema::fetch() {
        println!("no schema of Docker's API: {error:#}");
    }
    let mut command = cargo(&["test", "--package", "cofferdam-tests", "--test", "e2e", "--locked", "--"]);
    command.args(options.cases());
    command.env("COFFERDAM_BIN", release());
    match packages::docker_cli() {
        Ok(old) => {
            if which("docker").is_none() {
                command.env("COFFERDAM_DOCKER", &old);
            }
            command.env("COFFERDAM_DOCKER_20", old);
        }
        Err(error) => println!("no docker 20.10 CLI: {error:#}"),
    }
    // Each case is bounded, this is for what nobody thought of.
    bounded(&mut command, Duration::from_secs(40 * 60), "the end-to-end table")
}
