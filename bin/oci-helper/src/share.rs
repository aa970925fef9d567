//! `cofferdam-oci share`: serves a container's bind mounts to its VM (`cofferdam_share`) over one socket.
//!
//! QEMU runs as a user without rights and could not keep the owners of files; this process can. It sees nothing but
//! what is shared: the shares are collected in a mount namespace of its own, whose root it enters before it reads
//! the guest's first byte. A read-only share is mounted read-only here, on the host, not only in the guest.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use caps::Capability;
use cofferdam_model::{JailReply, ShareSpec};
use cofferdam_share::{OwnFiles, Server};
use nix::sched::CloneFlags;
use rustix::fs::{Mode, OFlags};
use rustix::process::Resource;

use crate::{jail_root, jail_socket, privileges};

/// What reading and writing other users' files takes, and their capabilities.
const KEPT: [Capability; 9] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_MKNOD,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
];

/// Runs the subcommand.
pub fn run() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cofferdam-oci share: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<()> {
    let (socket, spec, mut fds) = jail_socket::receive::<ShareSpec>()?;
    let port = UnixStream::from(fds.pop().context("no socket to serve was passed")?);
    match enter(&spec) {
        Ok(mut server) => {
            let pid = i32::try_from(std::process::id()).context("process ID")?;
            jail_socket::reply(&socket, &JailReply::Started { pid });
            // The port closes with the VM, and the VM goes with its shim: the end of file is the end of the job.
            drop(socket);
            cofferdam_share::serve(&port, &mut server).context("share port")
        }
        Err(error) => {
            jail_socket::reply(&socket, &JailReply::Failed { message: format!("{error:#}") });
            Ok(())
        }
    }
}

/// Collects the shares and shuts the rest of the host out.
fn enter(spec: &ShareSpec) -> Result<Server> {
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC;
    nix::sched::unshare(flags).context("new namespaces")?;
    let root = jail_root::Root::new(&spec.root)?;
    for (index, share) in spec.shares.iter().enumerate() {
        root.bind(&share.source, &PathBuf::from(format!("/{index}")), share.read_only)?;
    }
    let own = OwnFiles::alone().context("/proc/self/fd")?;
    root.enter()?;
    // Each file that the guest has open is one here.
    let mut files = rustix::process::getrlimit(Resource::Nofile);
    files.current = files.maximum;
    rustix::process::setrlimit(Resource::Nofile, files).context("limit of open files")?;
    // New files get the guest's owner by setfsuid; without this, that call would take the rights away, too.
    rustix::thread::set_capabilities_secure_bits(rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP)
        .context("secure bits")?;
    privileges::keep_only(&KEPT)?;
    // Another server, which has the same user and powers, sees nothing of this one in `/proc`.
    nix::sys::prctl::set_dumpable(false).context("dumpable")?;
    crate::jail_filter::load_for_share().context("seccomp")?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .context("root of the shares")?;
    Server::new(root, &own).context("share server")
}
