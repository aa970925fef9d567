//! The end-to-end table: every case at both isolation levels.
//!
//! `cargo xtask test` runs it; `cargo xtask test --level e2e --filter exec` runs a part. A case that the host cannot
//! run is reported as ignored with its reason; with `CI` set that is a failure, since there nothing may be missing.

mod bad_input;
mod build;
mod clients;
mod clone;
mod cmdlets;
mod commit;
mod compute;
mod conformance;
mod connect;
mod convert;
mod copy;
mod crash;
mod docker_cli;
mod documents;
mod exec;
mod health;
mod image;
mod lifecycle;
mod limits;
mod listing;
mod logs;
mod network;
mod networks;
mod policy;
mod ports;
mod posix;
mod restart;
mod run;
mod save;
mod sdks;
mod security;
mod stats;
mod update;
mod vm;
mod volumes;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use cofferdam_tests::{Case, Host, Level, Skip, Test};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Every case there is.
const TABLE: &[&[Test]] = &[
    run::CASES,
    lifecycle::CASES,
    restart::CASES,
    docker_cli::CASES,
    exec::CASES,
    health::CASES,
    logs::CASES,
    listing::CASES,
    network::CASES,
    networks::CASES,
    policy::CASES,
    ports::CASES,
    posix::CASES,
    security::CASES,
    limits::CASES,
    stats::CASES,
    update::CASES,
    vm::CASES,
    volumes::CASES,
    clone::CASES,
    build::CASES,
    commit::CASES,
    compute::CASES,
    cmdlets::CASES,
    documents::CASES,
    conformance::CASES,
    connect::CASES,
    convert::CASES,
    copy::CASES,
    crash::CASES,
    image::CASES,
    save::CASES,
    clients::CASES,
    sdks::CASES,
    bad_input::CASES,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Cases wait for containers more than they compute, but the emulator of a VM computes all the time.
    arguments.test_threads.get_or_insert(4);
    let host = match Host::find() {
        Ok(host) => Arc::new(host),
        Err(reason) if !arguments.list => {
            println!("end-to-end cases: not run: {reason:#}");
            return ExitCode::SUCCESS;
        }
        Err(_) => {
            libtest_mimic::run(&arguments, trials(None, &Arc::default())).exit();
        }
    };
    let skipped = Arc::default();
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&host), &skipped));

    let left = Arc::into_inner(host).expect("every case has ended").finish();
    for what in &left {
        println!("LEFT BEHIND: {what}");
    }
    let skipped = skipped.lock().expect("no holder panics");
    for (name, reason) in skipped.iter() {
        println!("SKIPPED {name}: {reason}");
    }
    let strict = std::env::var_os("CI").is_some();
    if strict && !skipped.is_empty() {
        println!("in CI no case may be skipped");
    }
    let failed = conclusion.has_failed() || !left.is_empty() || (strict && !skipped.is_empty());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

type Skipped = Arc<Mutex<Vec<(String, String)>>>;

/// The table as the harness wants it: `process::run::exit_codes`, `hyperv::run::exit_codes`, `engine::…`; or those of it
/// that `COFFERDAM_CASES` names, with commas between.
fn trials(host: Option<&Arc<Host>>, skipped: &Skipped) -> Vec<Trial> {
    let mut trials = Vec::new();
    for test in TABLE.iter().copied().flatten() {
        if test.levels.is_empty() {
            trials.push(trial(format!("engine::{}", test.name), test, Level::Process, host, skipped));
        }
        for &level in test.levels {
            trials.push(trial(format!("{}::{}", level.as_str(), test.name), test, level, host, skipped));
        }
    }
    if let Ok(chosen) = std::env::var("COFFERDAM_CASES") {
        trials.retain(|trial| chosen.split(',').any(|name| name == trial.name()));
        let named = chosen.split(',').count();
        assert_eq!(trials.len(), named, "COFFERDAM_CASES names cases that are not there: {chosen}");
    }
    trials
}

fn trial(
    full: String,
    test: &'static Test,
    level: Level,
    host: Option<&Arc<Host>>,
    skipped: &Skipped,
) -> Trial {
    let (host, skipped, name) = (host.cloned(), Arc::clone(skipped), full.clone());
    Trial::ignorable_test(full, move || {
        let host = host.expect("a list is not run");
        let case = Case::new(&host, level, test.name);
        let outcome = host.offers(level).and_then(|()| {
            let _room = host.vm_room(if level == Level::Hyperv { test.vms } else { 0 });
            (test.body)(&case)
        });
        match outcome {
            Ok(()) => Ok(Completion::Completed),
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(Skip(reason)) => {
                    skipped.lock().expect("no holder panics").push((name, reason.clone()));
                    Ok(Completion::ignored_with(reason))
                }
                None => {
                    // At once, too: a run that is ended before its end tells nothing else.
                    eprintln!("{name}: {error:#}");
                    Err(Failed::from(format!("{error:#}")))
                }
            },
        }
    })
}
