//! Bind mounts of the host: a FUSE file system of the guest's kernel, whose requests go to the share port and whose
//! replies come from there. What is in them is between the kernel and the host (`cofferdam_share`).

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use cofferdam_proto::SHARE_PORT;
use cofferdam_runtime::vm::guest_paths;
use cofferdam_share::{MAX_MESSAGE, REPLY_HEADER};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::{early, port};

/// Where the kernel gives its requests and takes the replies.
const DEVICE: &str = "/dev/fuse";

/// Loads what mounting needs, unless it is there.
pub fn load() -> Result<()> {
    match Path::new(DEVICE).exists() {
        true => Ok(()),
        false => early::load_modules("share"),
    }
}

/// Mounts what the share port serves.
pub fn mount() -> Result<()> {
    load()?;
    let path = port::find(SHARE_PORT)?;
    let open = |path: &Path| {
        File::options().read(true).write(true).open(path).with_context(|| path.display().to_string())
    };
    let (port, device) = (open(&path)?, open(Path::new(DEVICE))?);
    fs::create_dir_all(guest_paths::SHARES).context(guest_paths::SHARES)?;
    // The kernel checks permissions as for a disk's files, for every user.
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    let options = std::ffi::CString::new(options).context("mount options")?;
    let kind = "fuse.cofferdam";
    rustix::mount::mount("cofferdam", guest_paths::SHARES, kind, MountFlags::NODEV, Some(options.as_c_str()))
        .context("mount the host's bind mounts")?;
    let (to_port, from_kernel) =
        (port.try_clone().context("share port")?, device.try_clone().context(DEVICE)?);
    std::thread::spawn(move || end("requests", requests(from_kernel, to_port)));
    std::thread::spawn(move || end("replies", replies(port, device)));
    Ok(())
}

/// Whoever waits for a file gets an error instead when the host's side is gone: `umount -f` ends all requests.
fn end(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("cofferdam-agent: bind mounts: {what}: {error}");
    }
    rustix::mount::unmount(guest_paths::SHARES, UnmountFlags::FORCE).ok();
}

/// One read is one request.
fn requests(mut kernel: File, mut port: File) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        match kernel.read(&mut buffer) {
            Ok(count) => port.write_all(&buffer[..count])?,
            // Unmounted.
            Err(error) if is(&error, Errno::NODEV) => return Ok(()),
            // The request was taken back.
            Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// One write must be one reply.
fn replies(mut port: File, mut kernel: File) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut filled = 0;
    loop {
        let count = port.read(&mut buffer[filled..])?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let mut start = 0;
        while let Some(length) = cofferdam_share::length(&buffer[start..filled]) {
            if !(REPLY_HEADER..=MAX_MESSAGE).contains(&length) {
                return Err(io::Error::other(format!("a reply of {length} bytes")));
            }
            let Some(reply) = buffer[start..filled].get(..length) else { break };
            match kernel.write(reply) {
                Ok(_) => {}
                // Nobody waits for it, or it is a notice about a file that is no longer known.
                Err(error) if is(&error, Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
            start += length;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    Errno::from_io_error(error) == Some(errno)
}
