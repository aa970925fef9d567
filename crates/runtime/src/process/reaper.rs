//! Reaping: the one place of a shim or an agent that waits for children.
//!
//! The hosting process is a child subreaper (or PID 1), so it gets children that it never started: processes whose
//! helper has gone, libcontainer's intermediate processes, orphans of a container without a PID namespace. One task
//! collects every exit and passes it to whoever claimed the PID. Nothing else in the process may wait for a child:
//! `tokio::process` and `std::process::Child::wait` would race with it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::WaitOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::Exit;

/// The reaper of this process; clones are the same reaper.
#[derive(Clone)]
pub struct Reaper {
    exits: Arc<Mutex<Exits>>,
}

#[derive(Default)]
struct Exits {
    /// Who waits for which PID.
    claimed: HashMap<i32, watch::Sender<Option<Exit>>>,
    /// Exits without a claim, kept only while a start is under way.
    unclaimed: HashMap<i32, Exit>,
    /// How many starts are under way.
    starting: usize,
}

/// A start under way: as long as it lives, no exit is forgotten, so a child may end before it is claimed.
pub struct Starting {
    reaper: Reaper,
}

/// The end of a child, to come or past. Clones wait for the same child.
#[derive(Clone, Debug)]
pub struct Exited(watch::Receiver<Option<Exit>>);

impl Reaper {
    /// Begins to reap every child of this process, for as long as the runtime lives. Call it once, inside a runtime.
    pub fn start() -> io::Result<Self> {
        let reaper = Self { exits: Arc::default() };
        let mut children = signal(SignalKind::child())?;
        let reaping = reaper.clone();
        tokio::spawn(async move {
            loop {
                reaping.reap_all();
                if children.recv().await.is_none() {
                    return;
                }
            }
        });
        Ok(reaper)
    }

    /// Announces that a child will be started and claimed.
    #[must_use]
    pub fn starting(&self) -> Starting {
        self.lock().starting += 1;
        Starting { reaper: self.clone() }
    }

    fn reap_all(&self) {
        // __WALL: a child cloned with another exit signal than SIGCHLD is a child as well.
        let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(nix::libc::__WALL.cast_unsigned());
        loop {
            let (pid, status) = match rustix::process::wait(options) {
                Ok(Some((pid, status))) => (pid.as_raw_nonzero().get(), status),
                Err(rustix::io::Errno::INTR) => continue,
                // Nothing has ended, or there is no child at all.
                Ok(None) | Err(_) => return,
            };
            let code = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => code,
                (None, Some(signal)) => 128 + signal,
                (None, None) => continue,
            };
            tracing::debug!(pid, code, "child ended");
            self.lock().ended(pid, Exit { code, at_nanos: now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Exits> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exits {
    fn ended(&mut self, pid: i32, exit: Exit) {
        match self.claimed.remove(&pid) {
            Some(claim) => {
                claim.send_replace(Some(exit));
            }
            None if self.starting > 0 => {
                self.unclaimed.insert(pid, exit);
            }
            None => {}
        }
    }
}

impl Starting {
    /// Claims the exit of a child that this start has made.
    #[must_use]
    pub fn claim(&self, pid: i32) -> Exited {
        let mut exits = self.reaper.lock();
        let past = exits.unclaimed.remove(&pid);
        let (sender, receiver) = watch::channel(past);
        if past.is_none() {
            exits.claimed.insert(pid, sender);
        }
        Exited(receiver)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut exits = self.reaper.lock();
        exits.starting -= 1;
        if exits.starting == 0 {
            // A PID kept longer could come to mean another process.
            exits.unclaimed.clear();
        }
    }
}

impl Exited {
    /// The exit, if it has happened.
    #[must_use]
    pub fn now(&self) -> Option<Exit> {
        *self.0.borrow()
    }

    /// Waits for it.
    pub async fn wait(&self) -> Exit {
        let mut receiver = self.0.clone();
        let exit = receiver.wait_for(Option::is_some).await.map(|exit| *exit);
        // The sender lives in the reaper until it has sent; without a reaper nobody knows how the child ended.
        exit.ok().flatten().unwrap_or(Exit { code: 255, at_nanos: now() })
    }
}

/// Unix time in nanoseconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit { code, at_nanos: 1 }
    }

    fn reaper() -> Reaper {
        Reaper { exits: Arc::default() }
    }

    #[tokio::test]
    async fn an_exit_before_and_after_the_claim_arrives() {
        let reaper = reaper();
        let starting = reaper.starting();
        reaper.lock().ended(7, exit(1));
        assert_eq!(starting.claim(7).now(), Some(exit(1)));
        let later = starting.claim(8);
        drop(starting);
        assert_eq!(later.now(), None);
        reaper.lock().ended(8, exit(2));
        assert_eq!(later.wait().await, exit(2));
        assert_eq!(later.clone().wait().await, exit(2));
    }

    #[test]
    fn an_exit_that_nobody_expects_is_forgotten() {
        let reaper = reaper();
        reaper.lock().ended(7, exit(1));
        let starting = reaper.starting();
        reaper.lock().ended(9, exit(1));
        drop(starting);
        let starting = reaper.starting();
        assert_eq!(starting.claim(7).now(), None);
        assert_eq!(starting.claim(9).now(), None);
    }
}
