//! Who hears of it when a container's memory runs out.

use std::time::Duration;

use cofferdam_sys::cgroup::OomWatch;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::reaper::Exited;
use crate::Error;

/// How often, and after how long, is looked for the killing that was announced.
const PATIENCE: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// How often it has so far.
pub(crate) struct Ooms(watch::Sender<u64>);

impl Ooms {
    pub(crate) fn none() -> Self {
        Self(watch::Sender::new(0))
    }

    /// And `more` times.
    pub(crate) fn count(&self, more: u64) {
        self.0.send_if_modified(|count| {
            *count += more;
            more > 0
        });
    }

    /// Waits until it is more often than `seen`.
    pub(crate) async fn after(&self, seen: u64) -> Result<u64, Error> {
        let mut count = self.0.subscribe();
        let more = count.wait_for(|count| *count > seen).await;
        more.map(|count| *count).map_err(|_closed| Error::Finished)
    }

    /// Counts what `watched` tells, until the init process has ended.
    pub(super) async fn follow(&self, watched: OomWatch, exited: Exited) {
        // SAFETY: an `OomWatch`'s descriptor stays open and the same until it is dropped with the `AsyncFd`.
        let registered = unsafe { AsyncFd::register(watched) };
        let Ok(mut registered) = registered else { return };
        loop {
            let mut ready = tokio::select! {
                ready = registered.readable_mut() => match ready {
                    Ok(ready) => ready,
                    Err(_) => return,
                },
                _ = exited.wait() => return,
            };
            if !ready.get_inner().drain() {
                ready.clear_ready();
                continue;
            }
            // Who is to be killed may not be yet.
            for _ in 0..PATIENCE {
                let kills = registered.get_mut().kills();
                if kills > 0 {
                    self.count(kills);
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
