//! A thread of another process, stopped (ptrace(2)): what it would need to go on elsewhere.

use std::io;
use std::mem::MaybeUninit;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The processor's extended state at its largest (AMX included).
const MAX_EXTENDED: usize = 16 << 10;
/// `<linux/elf.h>`
const NT_X86_XSTATE: usize = 0x202;

/// A stopped thread. It goes on when this is dropped.
#[derive(Debug)]
pub struct Tracee(Pid);

impl Tracee {
    /// Stops a thread, which must be nobody's tracee; the caller must be allowed to trace it. Only the calling thread
    /// may use what is returned.
    pub fn stop(tid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(tid);
        ptrace::seize(pid, ptrace::Options::empty())?;
        let tracee = Self(pid);
        ptrace::interrupt(pid)?;
        match waitpid(pid, Some(WaitPidFlag::__WALL))? {
            WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..) => Ok(tracee),
            status => Err(io::Error::other(format!("thread {tid} did not stop: {status:?}"))),
        }
    }

    /// Its registers.
    #[cfg(target_arch = "x86_64")]
    pub fn registers(&self) -> io::Result<libc::user_regs_struct> {
        Ok(ptrace::getregs(self.0)?)
    }

    /// Its floating point and vector registers as the XSAVE instruction writes them.
    pub fn extended_registers(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0_u8; MAX_EXTENDED];
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: the kernel writes at most `iov_len` bytes, and says how many.
        let result =
            unsafe { libc::ptrace(libc::PTRACE_GETREGSET, self.0.as_raw(), NT_X86_XSTATE, &raw mut part) };
        if result == -1 {
            return Err(io::Error::last_os_error());
        }
        bytes.truncate(part.iov_len);
        Ok(bytes)
    }

    /// The signals that it blocks: bit N-1 is signal N.
    pub fn blocked_signals(&self) -> io::Result<u64> {
        let mut mask = MaybeUninit::<u64>::uninit();
        // SAFETY: the kernel writes the eight bytes that it is told of.
        let result = unsafe {
            libc::ptrace(libc::PTRACE_GETSIGMASK, self.0.as_raw(), size_of::<u64>(), mask.as_mut_ptr())
        };
        if result == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: written above.
        Ok(unsafe { mask.assume_init() })
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        // One that has ended meanwhile needs nothing.
        ptrace::detach(self.0, None).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_stopped_thread_tells_its_state_and_goes_on() {
        let mut command = Command::new("sh");
        let mut child =
            command.args(["-c", "read line"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        {
            let tracee = Tracee::stop(child.id().try_into().unwrap()).unwrap();
            assert_ne!(tracee.registers().unwrap().rip, 0);
            // The legacy area and the header of XSAVE.
            assert!(tracee.extended_registers().unwrap().len() >= 576);
            assert_eq!(tracee.blocked_signals().unwrap(), 0);
        }
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}
