//! Standard streams: pipes without a TTY, the TTY's master with one.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use cofferdam_model::WindowSize;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use crate::Stdio;

/// The process's ends of three new pipes, and ours. Without `stdin` the process reads `/dev/null`.
pub(super) fn pipes(stdin: bool) -> io::Result<(Vec<OwnedFd>, Stdio)> {
    let (stdin_theirs, stdin) = if stdin {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
        (theirs, Some(Box::new(pipe::Sender::from_owned_fd(nonblocking(ours)?)?) as _))
    } else {
        (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None)
    };
    let (stdout, stdout_theirs) = output()?;
    let (stderr, stderr_theirs) = output()?;
    let ours = Stdio { stdin, stdout: Some(Box::new(stdout)), stderr: Some(Box::new(stderr)) };
    Ok((vec![stdin_theirs, stdout_theirs, stderr_theirs], ours))
}

fn output() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(nonblocking(ours)?)?, theirs))
}

/// Only our end: the flag belongs to the open file, and programs expect their standard streams to block.
fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

/// A TTY's master.
#[derive(Clone)]
pub(super) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    pub(super) fn new(master: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` stays open and the same descriptor until it is dropped with the `AsyncFd`.
        let fd = unsafe { AsyncFd::register(nonblocking(master)?) }.map_err(io::Error::from)?;
        Ok(Self(Arc::new(fd)))
    }

    pub(super) fn resize(&self, size: WindowSize) -> io::Result<()> {
        let size =
            rustix::termios::Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), size)?)
    }

    /// Everything the process writes comes as standard output.
    pub(super) fn stdio(&self) -> Stdio {
        Stdio { stdin: Some(Box::new(self.clone())), stdout: Some(Box::new(self.clone())), stderr: None }
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), buf.initialize_unfilled())?));
            match read {
                Ok(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // No process has the terminal open any more: that is a master's end-of-file.
                Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(result) = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
