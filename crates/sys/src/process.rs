//! Processes: handles that cannot come to mean another process, sessions, and who reaps orphans.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

/// Makes orphaned descendants children of this process, which must then reap them.
pub fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Starts a session of one's own: no controlling terminal, no signals from the starter's.
/// A process that leads its group already (started with `process_group(0)`) cannot, and gets an error.
pub fn start_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// Has the kernel send this process `signal` when the thread that started it ends.
pub fn die_with_parent(signal: nix::sys::signal::Signal) -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(signal)?)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Ended {
    /// The exit code as shells and Docker count: 128 plus the signal.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// A handle of one process. It never means another process, even when the PID is used again. It becomes readable
/// when the process has ended, so an event loop can wait for it.
#[derive(Debug)]
pub struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    /// Opens a handle; `NotFound` when no such process exists.
    pub fn open(pid: i32) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, format!("no process {pid}"));
        let raw = Pid::from_raw(pid.max(0)).ok_or_else(gone)?;
        match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => Err(gone()),
            result => Ok(Self(result?)),
        }
    }

    /// Sends a signal, real-time ones and 0 (only a check) included. `NotFound` when the process has ended.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&self.0);
        // SAFETY: the descriptor is open, and a null siginfo is what the call takes for an ordinary signal.
        let result = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), 0u32)
        };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"));
        }
        Err(error)
    }

    /// Waits until the process, which need not be a child, has ended. `false` when the time ran out first.
    pub fn wait_ended(&self, limit: Option<Duration>) -> io::Result<bool> {
        let deadline = limit.map(|limit| std::time::Instant::now() + limit);
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(std::time::Instant::now()));
            let timeout = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reaps a child that has ended; `None` while it runs.
    pub fn try_reap(&self) -> io::Result<Option<Ended>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status =
            rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(self.0.as_fd()), options))?;
        let Some(status) = status else { return Ok(None) };
        Ok(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Ended::Code(code)),
            (None, Some(signal)) => Some(Ended::Signal(signal)),
            (None, None) => None,
        })
    }
}

impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<ProcessHandle> for OwnedFd {
    fn from(handle: ProcessHandle) -> Self {
        handle.0
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[allow(clippy::zombie_processes)] // Reaped through its handle.
    fn a_child_is_signalled_and_reaped() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let handle = ProcessHandle::open(i32::try_from(child.id()).unwrap()).unwrap();
        assert_eq!(handle.try_reap().unwrap(), None);
        assert!(!handle.wait_ended(Some(Duration::ZERO)).unwrap());
        handle.signal(0).unwrap();
        handle.signal(libc::SIGRTMIN()).unwrap();
        assert!(handle.wait_ended(None).unwrap());
        let ended = handle.try_reap().unwrap().unwrap();
        assert_eq!(ended, Ended::Signal(libc::SIGRTMIN()));
        assert_eq!(ended.exit_code(), 128 + libc::SIGRTMIN());
        assert_eq!(handle.signal(9).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn nobody_has_these_pids() {
        for pid in [0, -1, i32::MAX] {
            assert_eq!(ProcessHandle::open(pid).unwrap_err().kind(), io::ErrorKind::NotFound, "{pid}");
        }
    }
}
