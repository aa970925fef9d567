//! `cofferdam-shim`: one process for each running container. It owns the container's namespaces and mounts, its log
//! and its exit status, and outlives the daemon, which talks to it over two sockets.
//!
//! ```text
//! main ── setup (one thread: session, namespaces, root file system, network)
//!   └── runtime ── service, extension  ttrpc on fd 3: containerd's Task service and ours
//!               ── attach              stdio on fd 4: clients of a process's stdio
//!               ── container ── process ── hub ── log (crate log)
//! ```
//!
//! * [`container`]: the container and its processes, from `Create` to `Delete`;
//! * [`process`]: one process's life;
//! * [`hub`]: one process's stdio, between the process, the log and attached clients.
//!
//! With `--template FILE` it makes a template for VMs instead, for no container ([`template`]).
//!
//! What fails before the runtime exists is kept and answered to `Create`: the daemon learns it in the usual way. The
//! shim ends at `Shutdown` only, after `Delete` has fetched the exit status: a daemon may be away for long.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attach;
mod container;
mod extension;
mod hub;
mod process;
mod service;
mod setup;
mod template;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use cofferdam_model::{ShimSpec, bundle};
use cofferdam_runtime::process::reaper::Reaper;
use cofferdam_sys::trace::mark;
use tokio::net::UnixListener;
use ttrpc::asynchronous::Server;
use ttrpc::asynchronous::transport::Listener;

use crate::container::Container;
use crate::setup::Setup;

/// The inherited listening sockets.
const TASK_LISTENER: i32 = 3;
const IO_LISTENER: i32 = 4;

fn main() -> ExitCode {
    let level = std::env::var("COFFERDAM_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(tracing::Level::INFO))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    mark("shim begins");
    let bundle = match Work::from(std::env::args().skip(1))? {
        Work::Container(bundle) => bundle,
        Work::Template(order) => return template::run(&order),
    };
    let inherited =
        |number| cofferdam_sys::unix::inherited_fd(number).with_context(|| format!("descriptor {number}"));
    let (task, io) = (inherited(TASK_LISTENER)?, inherited(IO_LISTENER)?);
    // Without --bundle the daemon has made the bundle our working directory; later paths must not depend on it.
    let directory = bundle.canonicalize().context("bundle")?;
    std::fs::write(directory.join(bundle::SHIM_PID), std::process::id().to_string()).context("PID file")?;
    let spec: ShimSpec = read_json(&directory.join(bundle::SHIM_SPEC))?;

    become_shim()?;
    let setup = setup::run(&spec, &directory);
    if let Err(error) = &setup {
        tracing::error!("{error}");
    }
    mark("namespaces, network");
    runtime()?.block_on(serve(spec, directory, setup, task, io))
}

/// Leaves the session of whoever started it, and takes over orphans.
fn become_shim() -> anyhow::Result<()> {
    // A leader of its group has a session of its own already.
    let _ = cofferdam_sys::process::start_session();
    cofferdam_sys::process::become_subreaper().context("subreaper")
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

/// What it was started for.
#[derive(Debug, PartialEq, Eq)]
enum Work {
    /// The container of this bundle.
    Container(PathBuf),
    /// The template of this order.
    Template(PathBuf),
}

impl Work {
    fn from(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
            (None, ..) => Ok(Self::Container(PathBuf::from("."))),
            (Some("--bundle"), Some(directory), None) => Ok(Self::Container(PathBuf::from(directory))),
            (Some("--template"), Some(file), None) => Ok(Self::Template(PathBuf::from(file))),
            _ => anyhow::bail!(
                "usage: cofferdam-shim [--bundle DIRECTORY], with listening sockets as descriptors 3 and 4; \
                 or cofferdam-shim --template FILE"
            ),
        }
    }
}

async fn serve(
    spec: ShimSpec,
    directory: PathBuf,
    setup: Result<Setup, String>,
    task: OwnedFd,
    io: OwnedFd,
) -> anyhow::Result<()> {
    let reaper = Reaper::start().context("reaper")?;
    let container = Container::new(spec, directory, setup, reaper);
    let mut server = Server::new()
        .add_listener(Listener::from(listener(task)?))
        .register_service(service::services(&container))
        .register_service(extension::service(&container));
    server.start().await.context("task socket")?;
    tokio::spawn(attach::serve(listener(io)?, Arc::clone(&container)));
    container.shut_down().await;
    // The answer to `Shutdown` is still on its way out; clients that stay are not waited for.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(500), server.shutdown()).await;
    Ok(())
}

fn listener(fd: OwnedFd) -> anyhow::Result<UnixListener> {
    let listener = StdListener::from(fd);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener).context("inherited socket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse = |words: &[&str]| Work::from(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(parse(&[]).unwrap(), Work::Container(PathBuf::from(".")));
        assert_eq!(parse(&["--bundle", "/b"]).unwrap(), Work::Container(PathBuf::from("/b")));
        assert_eq!(parse(&["--template", "/t"]).unwrap(), Work::Template(PathBuf::from("/t")));
        assert!(parse(&["--bundle"]).is_err());
        assert!(parse(&["--help"]).is_err());
    }
}
