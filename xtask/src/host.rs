//! `cargo xtask test --host KIND`: the end-to-end table on a host that this machine is not.
//!
//! The host is a VM that runs Debian's kernel on a system of Debian's packages ([`system`]). What was built here is a
//! read-only disk of it ([`build`]); what it writes is gone when it ends ([`machine`]). docs/testing.md has the rest.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::bench::host::finding;
use crate::project::{release, target};

mod build;
mod machine;
mod system;

use build::Table;
use machine::Machine;
use system::System;

/// A kind of host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Kind {
    /// Control groups of version 2 alone
    Cgroup2,
    /// The same with KVM: where this machine has none, by nested virtualisation in software
    Kvm,
}

/// What is run on a host with KVM unless other cases are asked for: something of each kind. A VM in an emulated VM needs
/// minutes to become a template.
const ON_KVM: [&str; 8] = [
    "hyperv::run::exit_codes_of_what_cannot_run",
    "hyperv::run::output_and_exit_code",
    "hyperv::run::standard_input",
    "hyperv::exec::everything",
    "hyperv::network::bridge",
    "hyperv::limits::memory",
    "hyperv::lifecycle::stop_restart_kill_wait",
    "hyperv::security::walls",
];

/// What every `cargo xtask test` runs on a host with control groups of version 2: what the engine does differently there,
/// and little more, for such a host is slow where it is emulated.
const SMOKE: [&str; 8] = [
    "process::run::output_and_exit_code",
    "process::lifecycle::pause",
    "process::lifecycle::stop_restart_kill_wait",
    "process::limits::memory",
    "process::limits::out_of_memory_and_on",
    "process::limits::processes_and_cpu",
    "process::stats::shown",
    "process::update::running",
];

/// Runs the table's cases whose names contain `filter` there, or those that `COFFERDAM_CASES` names.
pub fn end_to_end(kind: Kind, filter: Option<String>) -> Result<()> {
    let on_kvm = (kind == Kind::Kvm && filter.is_none()).then(|| ON_KVM.join(","));
    let cases = std::env::var("COFFERDAM_CASES").ok().or(on_kvm);
    run(kind, filter, cases, Duration::from_secs(120 * 60))
}

/// Runs a few of its cases on a host with control groups of version 2.
pub fn smoke() -> Result<()> {
    run(Kind::Cgroup2, None, Some(SMOKE.join(",")), Duration::from_secs(15 * 60))
}

fn run(kind: Kind, filter: Option<String>, cases: Option<String>, limit: Duration) -> Result<()> {
    let directory = target().join("test-host");
    let system = System::in_directory(&directory)?;
    let kvm = kvm_works();
    let mut environment = vec![("COFFERDAM_PATIENCE", if kvm { "1" } else { "6" }.to_owned())];
    if kind == Kind::Cgroup2 && !kvm {
        // What converts, too: an emulated VM in an emulated host needs longer to boot than the engine waits.
        environment.push(("COFFERDAM_LEVELS", "process".to_owned()));
    }
    environment.extend(cases.map(|cases| ("COFFERDAM_CASES", cases)));
    if std::env::var_os("CI").is_some() {
        environment.push(("CI", "true".to_owned()));
    }
    let mut arguments: Vec<String> = filter.into_iter().collect();
    if kind == Kind::Kvm && !kvm {
        // VMs that boot beside each other need longer than the engine waits for one.
        arguments.push("--test-threads=1".to_owned());
    }
    let build = build::disk(&directory, &Table { arguments, environment })?;
    println!("test host: booting it, {}", if kvm { "on KVM" } else { "emulated, which takes a while" });
    let machine = Machine {
        system: &system,
        build: &build,
        directory: &directory,
        kvm,
        nested: kind == Kind::Kvm,
        limit,
    };
    match machine.run()? {
        0 => Ok(()),
        status => bail!("end-to-end cases failed on the test host (status {status})"),
    }
}

/// Whether `/dev/kvm` really runs guests here, as the engine itself finds it.
fn kvm_works() -> bool {
    // Its exit status is about everything that it looks at.
    let doctor = std::process::Command::new(release().join("cofferdam")).arg("doctor").output();
    doctor.is_ok_and(|doctor| finding(&String::from_utf8_lossy(&doctor.stdout), "kvm").0 == "OK")
}
