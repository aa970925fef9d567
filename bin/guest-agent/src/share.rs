//! Bind mounts of the host: the guest kernel's 9P client, connected to the share port.
//!
//! The client wants a pair of descriptors that behave like a connection (`trans=fd`). It gets one end of a socket
//! pair; two threads copy between the other end and the port.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result};
use cofferdam_proto::SHARE_PORT;
use cofferdam_runtime::vm::guest_paths;
use rustix::mount::MountFlags;

use crate::{early, port};

/// One message of 64 KiB and its header: what the server accepts.
const MESSAGE: usize = (64 << 10) + 24;

/// Loads what mounting needs, unless it is there.
pub fn load() -> Result<()> {
    match Path::new("/sys/module/9p").exists() {
        true => Ok(()),
        false => early::load_modules("share"),
    }
}

/// Mounts what the share port serves.
pub fn mount() -> Result<()> {
    load()?;
    let path = port::find(SHARE_PORT)?;
    let port =
        File::options().read(true).write(true).open(&path).with_context(|| path.display().to_string())?;
    let (client, ours) = UnixStream::pair().context("socket pair")?;
    let (from_port, to_client) =
        (port.try_clone().context("share port")?, ours.try_clone().context("socket")?);
    std::thread::spawn(move || copy(from_port, &to_client, &to_client));
    std::thread::spawn(move || copy(&ours, port, &ours));

    fs::create_dir_all(guest_paths::SHARES).context(guest_paths::SHARES)?;
    let fd = client.as_raw_fd();
    let options =
        format!("trans=fd,rfdno={fd},wfdno={fd},version=9p2000.L,access=client,msize={MESSAGE},cache=mmap");
    let options = std::ffi::CString::new(options).context("9p options")?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID;
    // The kernel holds the descriptor from here on.
    rustix::mount::mount("cofferdam", guest_paths::SHARES, "9p", flags, Some(options.as_c_str()))
        .context("mount the host's bind mounts")
}

/// Copies until either side has ended, then ends the connection.
fn copy(mut from: impl Read, mut to: impl Write, connection: &UnixStream) {
    let mut buffer = vec![0; MESSAGE];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    connection.shutdown(Shutdown::Both).ok();
}
