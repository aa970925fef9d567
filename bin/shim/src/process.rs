//! One process of the container, init or exec: what containerd's API says about it, and its end.
//!
//! ```text
//! New ──start──► Starting ──► Running ──exit──► Ended
//!  (init: Created with a PID)      └─ failed ──► Ended
//! ```

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cofferdam_model::ArchiveOrder;
use cofferdam_runtime::{Exit, Task};
use tokio::sync::watch;

use crate::hub::Hub;

/// How long an ended init process's output may still come from elsewhere: its PID namespace ends with it, a VM's
/// agent may still be sending.
const INIT_GRACE: Duration = Duration::from_secs(2);
/// An exec's children may live on and hold its pipes; nobody waits for them.
const EXEC_GRACE: Duration = Duration::from_millis(100);
/// How long a client may take for the rest of an archive.
const ARCHIVE_GRACE: Duration = Duration::from_secs(3600);
/// A client that does not read must not hide the end of the process for ever.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// A process.
pub struct Process {
    /// Empty for the init process.
    pub exec_id: String,
    /// Whether it has a TTY.
    pub terminal: bool,
    /// Its stdio.
    pub hub: Arc<Hub>,
    /// What an exec will run; an OCI `process` in JSON.
    pub program: Option<String>,
    /// Whether an exec asked for standard input in its request.
    pub stdin: bool,
    pid: AtomicI32,
    phase: Mutex<Phase>,
    exited: watch::Sender<Option<Exit>>,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Registered; an init process exists and waits, an exec does not exist.
    New,
    /// Being started.
    Starting,
    /// It runs its program.
    Running,
    /// It has ended.
    Ended,
}

impl Process {
    /// A process to come.
    pub fn new(
        exec_id: String,
        terminal: bool,
        hub: Arc<Hub>,
        program: Option<String>,
        stdin: bool,
    ) -> Arc<Self> {
        let (phase, exited) = (Mutex::new(Phase::New), watch::Sender::new(None));
        Arc::new(Self { exec_id, terminal, hub, program, stdin, pid: AtomicI32::new(0), phase, exited })
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exec's PID; 0 before it has one.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// The exec got its PID.
    pub fn set_pid(&self, pid: i32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// Where it is now.
    pub fn phase(&self) -> Phase {
        *self.lock()
    }

    /// Moves from `New` to `Starting`; `false` when it was not new.
    pub fn begin(&self) -> bool {
        let mut phase = self.lock();
        let is_new = *phase == Phase::New;
        if is_new {
            *phase = Phase::Starting;
        }
        is_new
    }

    /// It runs, unless it has ended already.
    pub fn started(&self) {
        let mut phase = self.lock();
        if *phase == Phase::Starting {
            *phase = Phase::Running;
        }
    }

    /// It has ended, or could not be started.
    pub fn ended(&self, exit: Exit) {
        *self.lock() = Phase::Ended;
        self.exited.send_replace(Some(exit));
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        *self.exited.borrow()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Option<Exit> {
        let mut exited = self.exited.subscribe();
        exited.wait_for(Option::is_some).await.ok().and_then(|exit| *exit)
    }

    /// Follows the process to its end. Its end is told when its output has been recorded and passed on, so that who
    /// learns it finds the log complete.
    pub fn follow(self: &Arc<Self>, task: Arc<dyn Task>) {
        let process = Arc::clone(self);
        tokio::spawn(async move {
            let exit = match task.wait(&process.exec_id).await {
                Ok(exit) => exit,
                Err(error) => {
                    tracing::error!(exec = process.exec_id, "waiting for the process: {error}");
                    Exit { code: 255, at_nanos: now() }
                }
            };
            let grace = match &process.program {
                _ if process.exec_id.is_empty() => INIT_GRACE,
                // Nobody else holds its output, and all of it counts.
                Some(program) if ArchiveOrder::of(program).is_some() => ARCHIVE_GRACE,
                _ => EXEC_GRACE,
            };
            process.hub.process_ended(grace);
            let _ = tokio::time::timeout(DRAIN_LIMIT, process.hub.drained()).await;
            process.ended(exit);
        });
    }
}

/// Unix time in nanoseconds.
pub fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_starts_once_and_ends_once() {
        let process = Process::new("e".into(), false, Hub::new(false, true, None), None, false);
        assert!(process.begin());
        assert!(!process.begin());
        let exit = Exit { code: 3, at_nanos: 1 };
        process.ended(exit);
        process.started();
        assert_eq!(process.phase(), Phase::Ended);
        assert_eq!(process.wait().await, Some(exit));
    }
}
