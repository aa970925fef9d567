//! TTYs: the container's own user owns the terminal, and it starts at the size that was asked for.

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::Process;
use rustix::fs::{Gid, Uid};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::failure::Failure;

/// Gives the terminal behind `master` to the process's user and sets its first size.
pub fn prepare(master: &OwnedFd, process: &Process) -> Result<(), Failure> {
    resize(master, process)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave =
        rustix::pty::ioctl_tiocgptpeer(master, flags).map_err(|error| Failure::new("terminal", error))?;
    own(&slave, process)
}

/// Sets the first size that was asked for.
pub fn resize(terminal: &impl AsFd, process: &Process) -> Result<(), Failure> {
    if let Some(size) = process.console_size() {
        let size = Winsize {
            ws_row: u16::try_from(size.height()).unwrap_or(u16::MAX),
            ws_col: u16::try_from(size.width()).unwrap_or(u16::MAX),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(terminal, size)
            .map_err(|error| Failure::new("terminal size", error))?;
    }
    Ok(())
}

/// Gives a standard stream to the process's user, so that it can open `/dev/stdout` again.
pub fn own(stream: &impl AsFd, process: &Process) -> Result<(), Failure> {
    let uid = process.user().uid();
    if uid == 0 {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None::<Gid>) {
        // A stream on a read-only file system keeps its owner.
        Ok(()) | Err(rustix::io::Errno::ROFS | rustix::io::Errno::INVAL) => Ok(()),
        Err(error) => Err(Failure::new("standard streams", error)),
    }
}
