//! `cofferdamd`, the daemon: the Docker Engine API over records, images, networks and events. It never runs a
//! container itself: each has a shim of its own, which outlives the daemon.
//!
//! ```text
//! main ── startup ── engine ──┬── containers   one task per container, its shim, its records
//!            │                ├── images       (crates/image)
//!            │                ├── network, vm, events
//!            └── server ── routes ── error     HTTP in, Docker's words out
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod build;
mod compute;
mod config;
mod containers;
mod engine;
mod error;
mod events;
mod lock;
mod network;
mod networks;
mod notify;
mod paths;
mod pieces;
mod policy;
mod ports;
mod routes;
mod server;
mod startup;
mod templates;
mod vm;
mod volumes;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Before anything else: the daemon starts itself to try KVM out in a process of its own.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == vm::PROBE) {
        return vm::probe();
    }
    match startup::run(config::Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cofferdamd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
