//! Waiting for more log: inotify says when the file was written, so nobody polls.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;

/// A watched file.
pub(super) struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// Watches a file for writes.
    pub(super) fn new(path: &Path) -> std::io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&fd, path, inotify::WatchFlags::MODIFY)?;
        // SAFETY: an `OwnedFd` stays open and the same descriptor until it is dropped with the `AsyncFd`.
        let fd = unsafe { AsyncFd::register(fd) }.map_err(std::io::Error::from)?;
        Ok(Self(fd))
    }

    /// Waits until the file was written to, and takes all that is known about it.
    pub(super) async fn changed(&mut self) -> std::io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(ready.get_inner(), &mut buffer);
        loop {
            match reader.next() {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

/// How long until this moment (Unix nanoseconds); without one, practically forever.
pub(super) fn deadline(until: Option<i64>) -> Duration {
    const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
    let Some(until) = until else { return FOREVER };
    let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    Duration::from_nanos(u64::try_from(until.saturating_sub(now)).unwrap_or(0))
}
