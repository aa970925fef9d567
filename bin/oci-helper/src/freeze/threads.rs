//! A process's threads, at rest.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cofferdam_sys::tracee::Tracee;

use crate::frozen_layout::MAX_THREADS;

/// How often a process is looked at until it is at rest, and how long it is left alone between two looks. It is a
/// template's: nobody waits.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// The kernel's words, seen by tracers only, for a system call that a signal would make again (`<linux/errno.h>`).
const RESTART: std::ops::RangeInclusive<i64> = -514..=-512;
const RESTART_BLOCK: i64 = -516;
/// What the call that began it returns when it is not made again.
const INTERRUPTED: u64 = (-4_i64).cast_unsigned();
/// The calls that wait.
const WAITING: [i64; 4] = [libc::SYS_futex, libc::SYS_ppoll, libc::SYS_poll, libc::SYS_restart_syscall];
/// `syscall` has two bytes.
const SYSCALL: u64 = 2;

/// Every thread of a process, stopped.
pub struct Threads(Vec<Tracee>);

/// What a thread needs to go on.
pub struct State {
    pub registers: libc::user_regs_struct,
    extended: Vec<u8>,
    blocked: u64,
}

impl Threads {
    /// Stops all of them, the main thread first, at a moment when all of them wait.
    pub fn stop(pid: i32) -> Result<Self> {
        for _ in 0..TRIES {
            let threads = Self(ids(pid)?.into_iter().map(Tracee::stop).collect::<std::io::Result<_>>()?);
            // One that was stopped last may have started another before that.
            if ids(pid)?.len() == threads.0.len() && threads.0.len() <= MAX_THREADS && threads.all_wait()? {
                return Ok(threads);
            }
            drop(threads);
            std::thread::sleep(PAUSE);
        }
        bail!("the process did not come to rest")
    }

    fn all_wait(&self) -> Result<bool> {
        for thread in &self.0 {
            let registers = thread.registers().context("registers")?;
            let (call, result) = (registers.orig_rax.cast_signed(), registers.rax.cast_signed());
            if !WAITING.contains(&call) || !(RESTART.contains(&result) || result == RESTART_BLOCK) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What they need to go on: before the call that they wait in, or behind it as if a signal had come.
    pub fn states(&self) -> Result<Vec<State>> {
        let state = |thread: &Tracee| -> std::io::Result<State> {
            let mut registers = thread.registers()?;
            if registers.rax.cast_signed() == RESTART_BLOCK {
                registers.rax = INTERRUPTED;
            } else {
                registers.rip -= SYSCALL;
                registers.rax = registers.orig_rax;
            }
            Ok(State {
                registers,
                extended: thread.extended_registers()?,
                blocked: thread.blocked_signals()?,
            })
        };
        self.0.iter().map(state).collect::<std::io::Result<_>>().context("threads")
    }
}

fn ids(pid: i32) -> Result<Vec<i32>> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task")).context("threads")? {
        ids.push(entry?.file_name().to_string_lossy().parse().context("a thread's number")?);
    }
    ids.sort_by_key(|id| (*id != pid, *id));
    Ok(ids)
}

impl State {
    /// The frame that `rt_sigreturn(2)` takes everything from: `struct ucontext` (`<asm/ucontext.h>`,
    /// `<asm/sigcontext.h>`), at this address, and behind it the extended state.
    pub fn frame(&self, at: u64) -> Vec<u8> {
        /// The frame knows its extended state's size; all of the stack segment is restored.
        const FLAGS: u64 = 1 | 2 | 4;
        const NO_OTHER_STACK: u64 = libc::SS_DISABLE as u64;
        /// User's code segment, and stack segment, as 64-bit programs have them.
        const SEGMENTS: u64 = 0x33 | 0x2b << 48;
        /// Behind the context, where XSAVE may be.
        const EXTENDED: usize = 384;
        let r = &self.registers;
        let mut frame: Vec<u64> = vec![FLAGS, 0, 0, NO_OTHER_STACK, 0];
        frame.extend([r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15]);
        frame.extend([r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax, r.rcx, r.rsp, r.rip, r.eflags, SEGMENTS]);
        // What a fault would have told, and where the extended state is.
        frame.extend([0, 0, 0, 0, at + EXTENDED as u64]);
        frame.extend([0; 8]);
        frame.push(self.blocked);
        let mut bytes: Vec<u8> = frame.into_iter().flat_map(u64::to_ne_bytes).collect();
        bytes.resize(EXTENDED, 0);
        bytes.extend(self.extended_state());
        bytes
    }

    /// The extended state with its size in the bytes that are the program's own, and the word behind it, by which the
    /// kernel knows that it is whole (`struct _fpx_sw_bytes`).
    fn extended_state(&self) -> Vec<u8> {
        const OWN: usize = 464;
        const MAGIC1: u32 = 0x4650_5853;
        const MAGIC2: u32 = 0x4650_5845;
        let mut bytes = self.extended.clone();
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        // The kernel tells tracers in the same place which components there are.
        let components: [u8; 8] = std::array::from_fn(|at| bytes[OWN + at]);
        let mut own = Vec::new();
        own.extend(MAGIC1.to_ne_bytes());
        own.extend((size + 4).to_ne_bytes());
        own.extend(components);
        own.extend(size.to_ne_bytes());
        bytes[OWN..OWN + own.len()].copy_from_slice(&own);
        bytes.extend(MAGIC2.to_ne_bytes());
        bytes
    }
}
