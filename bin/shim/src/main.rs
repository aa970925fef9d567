//! `cofferdam-shim`: one process for each running container. It owns the container's namespaces and mounts, its log
//! and its exit status, and outlives the daemon, which talks to it over two sockets.
//!
//! ```text
//! main ── setup (one thread: session, namespaces, root file system, network)
//!   └── runtime ── service, extension  ttrpc on fd 3: containerd's Task service and ours
//!               ── attach              stdio on fd 4: clients of a process's stdio
//!               ── container ── process ── hub ── logs
//! ```
//!
//! * [`container`]: the container and its processes, from `Create` to `Delete`;
//! * [`process`]: one process's life;
//! * [`hub`]: one process's stdio, between the process, the log and attached clients.
//!
//! What fails before the runtime exists is kept and answered to `Create`: the daemon learns it in the usual way. The
//! shim ends at `Shutdown` only, after `Delete` has fetched the exit status: a daemon may be away for long.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod attach;
mod container;
mod extension;
mod hub;
mod logs;
mod process;
mod service;
mod setup;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use cofferdam_model::{ShimSpec, bundle};
use cofferdam_runtime::process::reaper::Reaper;
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
    let directory = bundle_argument(std::env::args().skip(1))?;
    let inherited =
        |number| cofferdam_sys::unix::inherited_fd(number).with_context(|| format!("descriptor {number}"));
    let (task, io) = (inherited(TASK_LISTENER)?, inherited(IO_LISTENER)?);
    // Without --bundle the daemon has made the bundle our working directory; later paths must not depend on it.
    let directory = directory.canonicalize().context("bundle")?;
    std::fs::write(directory.join(bundle::SHIM_PID), std::process::id().to_string()).context("PID file")?;
    let path = directory.join(bundle::SHIM_SPEC);
    let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let spec: ShimSpec = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;

    // A leader of its group has a session of its own already.
    let _ = cofferdam_sys::process::start_session();
    cofferdam_sys::process::become_subreaper().context("subreaper")?;
    let setup = setup::run(&spec, &directory);
    if let Err(error) = &setup {
        tracing::error!("{error}");
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(serve(spec, directory, setup, task, io))
}

/// The value of `--bundle`, else the working directory.
fn bundle_argument(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<PathBuf> {
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, ..) => Ok(PathBuf::from(".")),
        (Some("--bundle"), Some(directory), None) => Ok(PathBuf::from(directory)),
        _ => anyhow::bail!(
            "usage: cofferdam-shim [--bundle DIRECTORY], with listening sockets as descriptors 3 and 4"
        ),
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
        let parse = |words: &[&str]| bundle_argument(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(parse(&[]).unwrap(), PathBuf::from("."));
        assert_eq!(parse(&["--bundle", "/b"]).unwrap(), PathBuf::from("/b"));
        assert!(parse(&["--bundle"]).is_err());
        assert!(parse(&["--help"]).is_err());
    }
}
