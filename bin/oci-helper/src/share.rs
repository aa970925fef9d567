//! `cofferdam-oci share`: serves a container's bind mounts to its VM, 9P2000.L over one socket.
//!
//! QEMU runs as a user without rights and could not keep the owners of files; this process can. It sees nothing but
//! what is shared: the shares are collected in a mount namespace of its own, whose root it enters before it reads
//! the guest's first byte. A read-only share is mounted read-only here, on the host, not only in the guest. The
//! guest's kernel checks permissions (it mounts with `access=client`); new files get the owner that it names.

use std::io::{Cursor, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use caps::Capability;
use cofferdam_model::{JailReply, ShareSpec};
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

use crate::share_fids::{Fids, Reply};
use crate::{jail_root, jail_socket, privileges};

/// What reading and writing other users' files takes.
const KEPT: [Capability; 8] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_MKNOD,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
];

/// The largest message: 64 KiB of payload and its header, as the `p9` crate's server offers.
const MAX_MESSAGE: u32 = (64 << 10) + 24;

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
            answer(&port, &mut server)
        }
        Err(error) => {
            jail_socket::reply(&socket, &JailReply::Failed { message: format!("{error:#}") });
            Ok(())
        }
    }
}

/// Collects the shares and shuts the rest of the host out.
fn enter(spec: &ShareSpec) -> Result<p9::Server> {
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC;
    nix::sched::unshare(flags).context("new namespaces")?;
    let root = jail_root::Root::new(&spec.root)?;
    for (index, share) in spec.shares.iter().enumerate() {
        root.bind(&share.source, &PathBuf::from(format!("/{index}")), share.read_only)?;
    }
    // The server reopens its own files through /proc, which it holds from here on and no path leads to afterwards.
    let server =
        p9::Server::new(PathBuf::from("/"), Default::default(), Default::default()).context("9p server")?;
    root.enter()?;
    rustix::process::umask(rustix::fs::Mode::empty());
    // New files get the guest's owner by setfsuid; without this, that call would take the rights away, too.
    rustix::thread::set_capabilities_secure_bits(rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP)
        .context("secure bits")?;
    privileges::keep_only(&KEPT)?;
    crate::jail_filter::load_for_share().context("seccomp")?;
    Ok(server)
}

/// Answers messages until the port closes.
fn answer(mut port: &UnixStream, server: &mut p9::Server) -> Result<()> {
    let mut fids = Fids::default();
    let mut message = Vec::new();
    loop {
        let mut size = [0; 4];
        if port.read_exact(&mut size).is_err() {
            return Ok(());
        }
        let length = u32::from_le_bytes(size);
        if !(7..=MAX_MESSAGE).contains(&length) {
            anyhow::bail!("a 9p message of {length} bytes");
        }
        message.clear();
        message.extend_from_slice(&size);
        message.resize(usize::try_from(length)?, 0);
        if port.read_exact(&mut message[4..]).is_err() {
            return Ok(());
        }
        let mut reply = Vec::new();
        match fids.before(&message) {
            Reply::Own(own) => reply = own,
            Reply::Server { owner } => {
                if let Some((uid, gid)) = owner {
                    setfsgid(Gid::from_raw(gid));
                    setfsuid(Uid::from_raw(uid));
                }
                let result = server.handle_message(&mut Cursor::new(&message), &mut reply);
                if owner.is_some() {
                    setfsuid(Uid::from_raw(0));
                    setfsgid(Gid::from_raw(0));
                }
                result.context("9p message")?;
                fids.after(&message, &reply);
            }
        }
        port.write_all(&reply).context("share port")?;
    }
}
