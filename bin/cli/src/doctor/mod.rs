//! `doctor`: what works on this host, what does not, and what to do about it. Every check only looks; nothing is
//! changed. The daemon need not run.

mod check;
mod engine;
mod host;
mod vm;

use clap::{Args, ValueEnum};

use crate::commands::Outcome;
use crate::output;
use crate::report::AlreadyReported;
use crate::session::Session;
use check::{Status, table};

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Format output
    #[arg(long, value_enum, default_value_t = Format::Table, hide_default_value = true)]
    format: Format,
}

impl Arguments {
    /// Checks; fails when something that every container needs does not work.
    pub async fn run(&self, session: &Session) -> Outcome {
        let mut checks = host::checks();
        checks.extend(vm::checks());
        checks.extend(engine::checks(session).await);
        match self.format {
            Format::Table => output::print(&table(&checks))?,
            Format::Json => output::line(output::indent(&serde_json::to_string(&checks)?, 0))?,
        }
        if checks.iter().any(|check| check.status == Status::Fail) {
            Err(AlreadyReported.into())
        } else {
            Ok(0)
        }
    }
}

/// Tries KVM in this process, for [`vm`], which started it for this.
pub fn kvm_probe() -> i32 {
    match cofferdam_sys::kvm::report_guest_loop() {
        Ok(()) => 0,
        Err(_) => 1,
    }
}
