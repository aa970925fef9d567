//! Unix sockets and the file descriptors that travel with them.
//!
//! A socket's path may have 108 bytes at most, and a bundle directory can be longer. So a socket is named by its
//! directory, which is opened first, and its file name: `/proc/self/fd/<directory>/<name>` is always short.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// The most file descriptors that [`send_fds`] and [`receive_fds`] pass at once.
pub const MAX_FDS: usize = 16;

/// Listens on the socket `name` in `directory`. A socket file that nobody listens on any more is replaced; a live
/// one is `AddrInUse`.
pub fn bind(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let directory = open_directory(directory)?;
    let path = short_path(&directory, name)?;
    match UnixListener::bind(&path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_stale = std::fs::symlink_metadata(&path)?.file_type().is_socket()
                && matches!(UnixStream::connect(&path), Err(e) if e.kind() == io::ErrorKind::ConnectionRefused);
            if !is_stale {
                return Err(error);
            }
            std::fs::remove_file(&path)?;
            UnixListener::bind(&path)
        }
        result => result,
    }
}

/// Connects to the socket `name` in `directory`.
pub fn connect(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let directory = open_directory(directory)?;
    UnixStream::connect(short_path(&directory, name)?)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn short_path(directory: &OwnedFd, name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name.contains('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not a file name")));
    }
    Ok(PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())))
}

/// Sends up to [`MAX_FDS`] file descriptors with one byte of payload.
pub fn send_fds(socket: &UnixStream, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let sent = send_with_fds(socket, &[0], fds)?;
    if sent == 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Sends bytes with descriptors beside the first of them. Says how many bytes were sent, at least one.
pub fn send_with_fds(socket: &impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if fds.len() > MAX_FDS || !(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many file descriptors for one message"));
    }
    Ok(rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    })?)
}

/// Receives what [`send_fds`] sent; close-on-exec is set on each. End-of-file is `UnexpectedEof`.
pub fn receive_fds(socket: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8];
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(fds)
}

/// Numbers that [`inherited_fd`] gave away already.
static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Takes over the file descriptor `number` (3 or more) that this process was started with, and sets close-on-exec.
/// Call it before opening anything, so that the number cannot mean a descriptor opened since. Taking a number
/// twice is refused.
pub fn inherited_fd(number: RawFd) -> io::Result<OwnedFd> {
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if number < 3 || taken.contains(&number) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("file descriptor {number} is not inherited"),
        ));
    }
    // SAFETY: F_SETFD touches no memory; it fails with EBADF when the number is not open.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    taken.push(number);
    // SAFETY: the number is open (F_SETFD succeeded) and, by the check of `taken`, owned by nobody yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets the next programs that this process executes inherit the descriptor.
pub fn keep_on_exec(fd: &impl AsFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
}

/// Makes a copy of the descriptor under this number, in place of what was there, for the next programs that this process
/// executes.
pub fn place(fd: &impl AsFd, number: RawFd) -> io::Result<()> {
    // SAFETY: no value of this program owns what stands under a number that its caller has set aside.
    match unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_socket_may_live_deeper_than_108_bytes() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(200));
        std::fs::create_dir(&deep).unwrap();
        let listener = bind(&deep, "task.sock").unwrap();
        let mut client = connect(&deep, "task.sock").unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let first = bind(root.path(), "s").unwrap();
        assert_eq!(bind(root.path(), "s").unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        bind(root.path(), "s").unwrap();
        std::fs::write(root.path().join("file"), "kept").unwrap();
        assert_eq!(bind(root.path(), "file").unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(bind(root.path(), "../s").is_err());
    }

    #[test]
    fn descriptors_travel() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut one, other) = UnixStream::pair().unwrap();
        send_fds(&here, &[other.as_fd()]).unwrap();
        let mut fds = receive_fds(&there).unwrap();
        let mut received = UnixStream::from(fds.remove(0));
        one.write_all(b"x").unwrap();
        let mut byte = [0];
        received.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        drop(here);
        assert_eq!(receive_fds(&there).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_inherited_number_is_taken_once() {
        let fd = std::os::fd::IntoRawFd::into_raw_fd(OwnedFd::from(UnixStream::pair().unwrap().0));
        let owned = inherited_fd(fd).unwrap();
        assert!(inherited_fd(fd).is_err());
        assert!(inherited_fd(0).is_err());
        drop(owned);
    }
}
