//! Limits as asked for: Docker's ranges and words, and a warning where this host cannot hold what was asked.
//!
//! The same checks serve a new container and an [`update`]. What cannot be held is taken out of what was asked, so that
//! `inspect` tells the truth.

mod disks;
mod kernel;
mod memory;
mod processor;
mod ulimits;
pub mod update;

use std::path::Path;

use cofferdam_model::Isolation;

use super::config::HostConfig;
use super::spec::HostFacts;

pub use disks::on_host;
pub use processor::cpus_asked;
pub use ulimits::{merge_default, refusal as ulimit_refusal};

/// For whom limits are checked.
pub struct Whose<'a> {
    /// The level.
    pub isolation: Isolation,
    /// What is below it.
    pub facts: &'a HostFacts,
    /// Where the disks of VMs are.
    pub data_root: &'a Path,
    /// Whether the container exists already: what is not named is not asked to be nothing then.
    pub update: bool,
}

impl<'a> Whose<'a> {
    /// A container's of this level on this host.
    pub fn of(isolation: Isolation, data_root: &'a Path) -> Self {
        Self { isolation, facts: HostFacts::below(isolation), data_root, update: false }
    }
}

/// Checks all of them, and fills in what follows from others.
pub fn check(host: &mut HostConfig, whose: &Whose<'_>, warnings: &mut Vec<String>) -> Result<(), String> {
    memory::check(host, whose, warnings)?;
    processor::check(host, whose, warnings)?;
    disks::check(host, whose, warnings)?;
    if !whose.facts.offers.pids && host.pids_limit.take().is_some_and(|limit| limit > 0) {
        warnings.push(not_here("PIDs limit capabilities", "PIDs limit discarded."));
    }
    if whose.update {
        return Ok(());
    }
    kernel::check(host, whose.facts)?;
    ulimits::check(host, whose.facts, warnings)
}

/// Docker's warning about what is left out.
fn not_here(what: &str, so: &str) -> String {
    format!("Your kernel does not support {what} or the cgroup is not mounted. {so}")
}

#[cfg(test)]
mod tests;
