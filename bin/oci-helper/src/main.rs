//! `cofferdam-oci`, the single-threaded helper of shim and guest agent: everything that has to fork, join or leave
//! namespaces happens here, because none of that may happen in a threaded process.
//!
//! `create` and `exec` read a request from standard input, a connected Unix stream, and answer on it (see
//! `cofferdam_model::HelperReply`). What they start is their sibling: a child of shim or agent, which reaps it. The
//! helper itself is gone before the program runs. Standard error goes to the caller's log.
//!
//! `jail` and `share` are the helpers beside a VM (see `cofferdam_model::JailSpec`); they stay as long as it. `freeze`
//! writes its process to disk; `rehearse` is a program for a container whose VM will be frozen.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::process::ExitCode;

mod adapt;
mod archive;
mod cgroups;
mod control;
mod create;
mod diagnosis;
mod environment;
mod exec;
mod failure;
mod fork;
mod freeze;
#[path = "../thaw/layout.rs"]
mod frozen_layout;
mod jail;
mod jail_filter;
mod jail_root;
mod jail_socket;
mod park;
mod privileges;
mod program;
mod rehearse;
mod seccomp;
mod share;
mod sysctl;
mod terminal;
mod thaw;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("create") => control::serve(create::create),
        Some("exec") => control::serve(exec::exec),
        Some("jail") => jail::run(),
        Some("share") => share::run(),
        Some("freeze") => freeze::run(),
        Some("rehearse") => rehearse::run(arguments.next().as_deref()),
        Some("--version") => {
            println!("cofferdam-oci {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("cofferdam-oci is started by cofferdam-shim and cofferdam-agent");
            ExitCode::from(2)
        }
    }
}
