//! Waiting for more log: inotify says when a file was written or renamed, so nobody polls.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;

/// What is known of the watched file.
pub(super) struct Watch(AsyncFd<Arc<OwnedFd>>);

/// The end that says which file is watched.
pub(super) struct Watched {
    inotify: Arc<OwnedFd>,
    file: Option<i32>,
}

/// Both ends.
pub(super) fn watch() -> std::io::Result<(Watch, Watched)> {
    let inotify = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    let inotify = Arc::new(inotify);
    // SAFETY: an `OwnedFd` stays open and the same descriptor until the last `Arc` of it is dropped, and one is in the
    // `AsyncFd`.
    let watch = unsafe { AsyncFd::register(Arc::clone(&inotify)) }.map_err(std::io::Error::from)?;
    Ok((Watch(watch), Watched { inotify, file: None }))
}

impl Watched {
    /// Watches this file, whatever its name is by now, and no other any more.
    pub(super) fn change_to(&mut self, file: &File) -> std::io::Result<()> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags =
            inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVE_SELF | inotify::WatchFlags::ATTRIB;
        let watched = inotify::add_watch(&*self.inotify, path, flags)?;
        if let Some(before) = self.file.replace(watched) {
            // It is gone already when its file is.
            let _ = inotify::remove_watch(&*self.inotify, before);
        }
        Ok(())
    }
}

impl Watch {
    /// Waits until the file was written to or renamed, and takes all that is known about it.
    pub(super) async fn changed(&mut self) -> std::io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&**ready.get_inner(), &mut buffer);
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
