//! The project's own tasks: `cargo xtask <task>`. Nothing has to be installed first but Rust.
//!
//! `demo` shows what the engine is for, `test` proves that it works, `bench` measures it; the others are their parts.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bench;
mod cpu;
mod debian;
mod demo;
mod docs;
mod fuzz;
mod guest;
mod host;
mod install;
mod licences;
mod memory;
mod packages;
mod project;
mod schema;
mod story;
mod test;
mod throwaway;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Cofferdam's own tasks",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show both isolation levels at work, on a daemon of its own, and leave nothing behind
    Demo(demo::Options),
    /// Everything: formatting, lints, licences, unit tests, and the end-to-end table at both levels
    Test(test::Options),
    /// Measure the engine at both levels, and other engines beside it: docs/benchmark.md
    Bench(bench::Options),
    /// Fetch the guest kernel and build the utility VM's initial RAM disk
    Guest {
        /// --update: look for newer packages; --build: compile the trimmed kernel, too; --dev: do not optimise programs
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Put binaries, guest and systemd unit where a distribution would
    Install(install::Options),
    /// Install the system packages that building and running need, naming them first
    Packages,
    /// Fetch Docker's published schema of its API, which the end-to-end table holds the daemon against
    Schema,
    /// Write what is generated: docs/cmdlets.md, powershell/Cofferdam and docs/transcripts.md
    Docs(docs::Options),
    /// Run the fuzz targets for a while (needs cargo-fuzz and a nightly toolchain)
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let done = |outcome: anyhow::Result<()>| outcome.map(|()| ExitCode::SUCCESS);
    let outcome = match Cli::parse().task {
        Task::Demo(options) => done(demo::demo(&options)),
        Task::Test(options) => done(test::test(&options)),
        Task::Bench(options) => bench::bench(&options),
        Task::Guest { args } => done(packages::install().and_then(|()| guest::guest(args))),
        Task::Install(options) => done(install::install(&options)),
        Task::Packages => done(packages::install()),
        Task::Schema => done(schema::fetch().map(drop)),
        Task::Docs(options) => done(docs::docs(&options)),
        Task::Fuzz(options) => done(fuzz::fuzz(&options)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
