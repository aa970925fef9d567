//! `exec`: a further process in a container.
//!
//! libcontainer's own tenant builder gives it no seccomp filter and costs three processes; this joins the
//! container's cgroups and namespaces and uses libcontainer for the rest: capabilities, AppArmor, terminal.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

use cofferdam_model::{ArchiveOrder, HelperExec};
use cofferdam_sys::process::ProcessHandle;
use libcontainer::syscall::Syscall;
use libcontainer::syscall::linux::LinuxSyscall;
use libcontainer::{apparmor, capabilities, tty};
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid};
use oci_spec::runtime::{Process, Spec};

use crate::control::{Made, Streams, pair, receive_fd};
use crate::failure::Failure;
use crate::fork::fork_sibling;
use crate::privileges::Privileges;
use crate::seccomp::Filter;
use crate::{adapt, archive, cgroups, create, environment, program, terminal};

/// What Docker's clients are told first, and match on.
const PREFIX: &str = "OCI runtime exec failed: exec failed: unable to start container process";

/// Starts the process of `request`.
pub fn exec(request: HelperExec, streams: Streams) -> Result<Made, Failure> {
    attempt(&request, streams).map_err(|failure| failure.prefixed(PREFIX))
}

fn attempt(request: &HelperExec, streams: Streams) -> Result<Made, Failure> {
    if let Some(order) = ArchiveOrder::of(&request.process) {
        return archive::start(request.init, &order, streams);
    }
    let mut process: Process =
        serde_json::from_str(&request.process).map_err(|error| Failure::new("process", error))?;
    adapt::adapt(&mut process)?;
    let path = request.state_root.join(create::SPEC);
    let spec = Spec::load(&path).map_err(|error| Failure::new(path.display(), error))?;
    let privileges = Privileges {
        capabilities: process.capabilities().clone(),
        filter: Filter::read(&request.state_root.join(create::SECCOMP))?,
        no_new_privileges: process.no_new_privileges() == Some(true),
    };

    let init =
        ProcessHandle::open(request.init).map_err(|error| Failure::new("container is not running", error))?;
    // Takes effect for the child. All else is for the child to join: this process stays outside.
    nix::sched::setns(&init, CloneFlags::CLONE_NEWPID)
        .map_err(|error| Failure::new("container's PIDs", error))?;

    let (console, theirs) =
        if request.terminal { pair().map(|(a, b)| (Some(a), Some(b)))? } else { (None, None) };
    let (mut verdict, report) = pipe()?;
    match fork_sibling().map_err(|error| Failure::new("fork", error))? {
        None => {
            drop((verdict, console));
            let stdio = theirs.map_or(Stdio::Streams(streams.fds), Stdio::Console);
            let message = become_process(&init, &spec, &process, &privileges, stdio);
            let mut report = report;
            let _ = report.write_all(message.as_bytes());
            std::process::exit(255);
        }
        Some(pid) => {
            // The child's ends must close here, or nobody ever reads end-of-file.
            drop((report, theirs, streams));
            let mut message = String::new();
            verdict.read_to_string(&mut message).map_err(|error| Failure::new("exec", error))?;
            if !message.is_empty() {
                return Err(Failure::from_text(message));
            }
            let master = console.map(|socket| receive_fd(socket.as_fd())).transpose()?;
            Ok(Made { pid, master })
        }
    }
}

/// Moves this process into the container's cgroup and namespaces.
fn enter(init: &ProcessHandle, spec: &Spec, process: &Process) -> Result<(), Failure> {
    if let Some(score) = process.oom_score_adj() {
        fs::write("/proc/self/oom_score_adj", score.to_string())
            .map_err(|error| Failure::new("oom_score_adj", error))?;
    }
    for limit in process.rlimits().iter().flatten() {
        LinuxSyscall
            .set_rlimit(limit)
            .map_err(|error| Failure::new(format_args!("limit {}", limit.typ()), error))?;
    }
    cgroups::join(spec)?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    nix::sched::setns(init, namespaces).map_err(|error| Failure::new("container's namespaces", error))
}

enum Stdio {
    Streams(Vec<OwnedFd>),
    Console(OwnedFd),
}

/// Turns the forked child into the process. Returns only why it could not.
fn become_process(
    init: &ProcessHandle,
    spec: &Spec,
    process: &Process,
    privileges: &Privileges,
    stdio: Stdio,
) -> String {
    match enter(init, spec, process).and_then(|()| prepare(process, privileges, stdio)) {
        Ok(()) => program::run(process),
        Err(failure) => failure.message,
    }
}

fn prepare(process: &Process, privileges: &Privileges, stdio: Stdio) -> Result<(), Failure> {
    let failed = |doing: &'static str| move |error: &dyn std::fmt::Display| Failure::new(doing, error);
    nix::unistd::setsid().map_err(|error| failed("session")(&error))?;
    match stdio {
        Stdio::Streams(streams) => {
            for stream in &streams {
                terminal::own(stream, process)?;
            }
            place(streams)?;
        }
        Stdio::Console(socket) => {
            tty::setup_console(&LinuxSyscall, socket.into_raw_fd(), false)
                .map_err(|error| Failure::from_chain(&error))?;
            terminal::resize(&std::io::stdin(), process)?;
            terminal::own(&std::io::stdin(), process)?;
        }
    }
    if let Some(profile) = process.apparmor_profile() {
        apparmor::apply_profile(profile).map_err(|error| Failure::from_chain(&error))?;
    }
    if let Some(mask) = process.user().umask() {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    }
    if privileges.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(|error| failed("no_new_privs")(&error))?;
    }
    // Before the user changes: some file systems let root in and nobody else.
    let moved = nix::unistd::chdir(process.cwd());
    set_user(process).map_err(|error| failed("user")(&error))?;
    if moved.is_err() {
        let words = |error| {
            Failure::new(format_args!("chdir to cwd ({:?}) set in config.json failed", process.cwd()), error)
        };
        nix::unistd::chdir(process.cwd()).map_err(words)?;
    }
    environment::replace(process.env().as_deref().unwrap_or_default(), process.user().uid());
    LinuxSyscall.close_range(0).map_err(|error| Failure::from_chain(&error))?;
    privileges.assume()
}

pub fn place(streams: Vec<OwnedFd>) -> Result<(), Failure> {
    let failed = |error: rustix::io::Errno| Failure::new("standard streams", error);
    let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(streams)
        .map_err(|fds| Failure::new("helper request", format!("{} descriptors came, not 3", fds.len())))?;
    rustix::stdio::dup2_stdin(stdin).map_err(failed)?;
    rustix::stdio::dup2_stdout(stdout).map_err(failed)?;
    rustix::stdio::dup2_stderr(stderr).map_err(failed)
}

/// Changes groups and user, and keeps every capability for the steps after it.
fn set_user(process: &Process) -> nix::Result<()> {
    let user = process.user();
    let groups: Vec<Gid> = user.additional_gids().iter().flatten().map(|&gid| Gid::from_raw(gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    nix::unistd::setgroups(&groups)?;
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::sys::prctl::set_keepcaps(true)?;
    nix::unistd::setresuid(uid, uid, uid)?;
    nix::sys::prctl::set_keepcaps(false)?;
    // Leaving user 0 empties the effective set; what is permitted stays.
    capabilities::reset_effective(&LinuxSyscall).map_err(|_refused| nix::errno::Errno::EPERM)
}

pub fn pipe() -> Result<(File, File), Failure> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Failure::new("pipe", error))?;
    Ok((reader.into(), writer.into()))
}
