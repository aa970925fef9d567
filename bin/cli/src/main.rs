//! `cofferdam`, the command line: Docker's verbs, flags and output, and what Docker lacks (`doctor`,
//! `image install`). It owns arguments ([`args`]), one file per verb family ([`commands`]), how things look
//! ([`output`]), the terminal ([`stdio`]) and messages with hints ([`report`]). It talks to the daemon
//! only through `cofferdam-client`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod cmdlets;
mod commands;
mod config;
mod console;
mod doctor;
mod image_name;
mod install;
mod output;
mod programs;
mod progress;
mod report;
mod session;
mod stdio;
mod usage;
mod values;

fn main() {
    let code = match usage::parse(std::env::args_os()) {
        Ok(cli) => commands::execute(cli),
        Err(refusal) => {
            // For a reader that went away there is nobody to tell.
            let _ = match refusal.code {
                0 => output::print(&refusal.text),
                _ => std::io::Write::write_all(&mut std::io::stderr(), refusal.text.as_bytes()),
            };
            refusal.code
        }
    };
    // Not a return: a thread that waits for the keyboard must not keep us.
    std::process::exit(code);
}
