//! `cofferdam-agent`: PID 1 of a utility VM. It is the initial RAM disk's `/init`.
//!
//! ```text
//! early    mounts, kernel modules, a root that can be pivoted away from
//! port     the virtio-serial port to the shim, as an asynchronous stream
//! serve    requests of the shim ──► container
//! container  the disks, the container (by cofferdam_runtime::process, as on the host), its streams
//! share    bind mounts: FUSE from the guest's kernel to the share port
//! ```
//!
//! When the shim closes the port, or anything here cannot go on, the VM is powered off: nothing in it is worth
//! more than the container, and its disk is a journalled file system.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod container;
mod early;
mod port;
mod serve;
mod share;
mod warm;

use anyhow::{Context as _, Result};
use rustix::system::RebootCommand;

fn main() {
    if std::process::id() != 1 {
        eprintln!("cofferdam-agent is started by the kernel of a utility VM");
        std::process::exit(2);
    }
    if let Err(error) = run() {
        // The console is the shim's "last words".
        eprintln!("cofferdam-agent: {error:#}");
    }
    rustix::fs::sync();
    if let Err(error) = rustix::system::reboot(RebootCommand::PowerOff) {
        eprintln!("cofferdam-agent: power off: {error}");
    }
    // PID 1 must not return; the hypervisor stops the VM at any moment.
    loop {
        std::thread::park();
    }
}

fn run() -> Result<()> {
    early::prepare().context("set-up")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")?;
    runtime.block_on(serve::serve())
}
