//! PID 1 of a container with `--init`. Nothing but the standard library and the C library it links.

use std::ffi::c_int;
use std::io::ErrorKind;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, exit};

/// A set of signals: 1024 bits, as glibc and musl have it.
#[repr(C, align(8))]
struct SignalSet([u8; 128]);

unsafe extern "C" {
    fn sigfillset(set: *mut SignalSet) -> c_int;
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    fn sigprocmask(how: c_int, set: *const SignalSet, old: *mut SignalSet) -> c_int;
    fn sigwait(set: *const SignalSet, signal: *mut c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn setpgid(pid: c_int, group: c_int) -> c_int;
    fn tcsetpgrp(fd: c_int, group: c_int) -> c_int;
    fn getpid() -> c_int;
}

const SIG_SETMASK: c_int = 2;
const SIGCHLD: c_int = 17;
const SIGTTIN: c_int = 21;
const SIGTTOU: c_int = 22;
const WNOHANG: c_int = 1;

fn main() {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().and_then(|word| if word == "--" { words.next() } else { Some(word) });
    let Some(program) = program else {
        eprintln!("docker-init: no program given");
        exit(1);
    };
    let mut all = SignalSet([0; 128]);
    // SAFETY: both calls read and write the one set that they are given.
    unsafe {
        sigfillset(&raw mut all);
        sigprocmask(SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
    let mut command = Command::new(&program);
    command.args(words);
    // SAFETY: the closure runs between fork and exec and calls nothing but async-signal-safe functions.
    unsafe { command.pre_exec(prepare_child) };
    let child = match command.spawn() {
        Ok(child) => child.id() as c_int,
        Err(error) => {
            eprintln!("docker-init: exec {}: {error}", program.display());
            exit(if error.kind() == ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    loop {
        let mut signal = 0;
        // SAFETY: it reads the set and writes the number.
        if unsafe { sigwait(&raw const all, &raw mut signal) } != 0 {
            continue;
        }
        match signal {
            SIGCHLD => reap(child),
            // The terminal's own business with a background process.
            SIGTTIN | SIGTTOU => {}
            // SAFETY: no memory is involved; a child that is gone is no harm.
            _ => drop(unsafe { kill(child, signal) }),
        }
    }
}

/// The child leads a process group in the foreground of its terminal, when it has one, and starts with no signal
/// blocked.
fn prepare_child() -> std::io::Result<()> {
    let mut none = SignalSet([0; 128]);
    // SAFETY: plain calls on the child's own process and the one set; without a terminal tcsetpgrp changes nothing.
    unsafe {
        setpgid(0, 0);
        // SIGTTOU is still blocked here, so that taking the foreground does not stop the process.
        tcsetpgrp(0, getpid());
        sigemptyset(&raw mut none);
        sigprocmask(SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    Ok(())
}

/// Takes every child that has ended; ends with the child's own code when it is among them.
fn reap(child: c_int) {
    loop {
        let mut status = 0;
        // SAFETY: it writes the status.
        let pid = unsafe { waitpid(-1, &raw mut status, WNOHANG) };
        if pid <= 0 {
            return;
        }
        if pid == child {
            let status = ExitStatus::from_raw(status);
            exit(status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(255));
        }
    }
}
