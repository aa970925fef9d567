//! A virtio-serial port as an asynchronous stream. It is a character device that can be polled.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where the kernel lists ports.
const PORTS: &str = "/sys/class/virtio-ports";
/// Ports appear some milliseconds after the device, as messages from the hypervisor.
const APPEAR: (u32, Duration) = (200, Duration::from_millis(5));

/// The device file of the port of that name.
pub fn find(name: &str) -> io::Result<PathBuf> {
    for _ in 0..APPEAR.0 {
        for entry in fs::read_dir(PORTS)?.flatten() {
            if fs::read_to_string(entry.path().join("name")).is_ok_and(|found| found.trim_end() == name) {
                return Ok(PathBuf::from("/dev").join(entry.file_name()));
            }
        }
        std::thread::sleep(APPEAR.1);
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("virtio-serial port {name}")))
}

/// One direction of an open port; clones share the port.
#[derive(Clone)]
pub struct Port(Arc<AsyncFd<File>>);

impl Port {
    /// Opens the port of that name.
    pub fn open(name: &str) -> io::Result<Self> {
        let file =
            File::options().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(find(name)?)?;
        // SAFETY: the file stays open, with the same descriptor, until it is dropped with the `AsyncFd`.
        let file = unsafe { AsyncFd::register(file) }.map_err(io::Error::from)?;
        Ok(Self(Arc::new(file)))
    }
}

impl AsyncRead for Port {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let result = ready.try_io(|file| file.get_ref().read(buffer.initialize_unfilled()));
            match result {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            match ready.try_io(|file| file.get_ref().write(bytes)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
