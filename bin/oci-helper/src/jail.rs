//! `cofferdam-oci jail`: starts the VM worker process in a jail and stays as its supervisor.
//!
//! The worker gets new mount, PID, network, IPC and UTS namespaces, a root that holds the system's programs and
//! libraries read-only and nothing else of the host, a user of its own, no capabilities (nor a way to gain any), a
//! seccomp filter, tight resource limits, and the container's control groups. The supervisor, one thread that waits,
//! is the worker's parent: the kernel ends the worker when the supervisor ends, and the supervisor ends it when the
//! shim's end of standard input closes. So no VM outlives its shim, however that one ended.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use caps::{CapSet, Capability};
use cofferdam_model::{GuestMemory, JailReply, JailSpec};
use cofferdam_sys::cgroup::Cgroup;
use cofferdam_sys::process::{Ended, ProcessHandle};
use libcontainer::syscall::Syscall as _;
use libcontainer::syscall::linux::LinuxSyscall;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{ForkResult, Gid, Uid};
use rustix::event::{PollFd, PollFlags};

use crate::{jail_filter, jail_root, jail_socket, thaw};

/// Descriptors that the worker may have open: disks, sockets, its own event and timer descriptors.
const OPEN_FILES: u64 = 256;

/// A library that opens a clone's memory read-only (`preload/lib.rs`), its path in the jail, and the dynamic linker's
/// variable that names it.
const PRELOADED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/preload.so"));
const PRELOAD: &str = "/guest/preload.so";
const PRELOAD_VARIABLE: &std::ffi::CStr = c"LD_PRELOAD=/guest/preload.so";
/// Where the jail has the program that thaws a process; its name becomes the process's.
const THAW: &str = "/guest/qemu-system-x86_64";

/// Runs the subcommand.
pub fn run() -> ExitCode {
    jail_socket::serve("jail", |socket, spec: JailSpec, fds| match start(&spec, fds) {
        Ok((pid, worker)) => supervise(socket, pid, &worker),
        Err(error) => {
            jail_socket::reply(socket, &JailReply::Failed { message: format!("{error:#}") });
            ExitCode::FAILURE
        }
    })
}

/// Forks the worker, which builds the jail around itself.
fn start(spec: &JailSpec, fds: Vec<OwnedFd>) -> Result<(i32, ProcessHandle)> {
    if spec.uid == 0 {
        bail!("the VM worker process must not be root");
    }
    // For the child: it becomes the first process of the new PID namespace.
    nix::sched::unshare(CloneFlags::CLONE_NEWPID).context("new PID namespace")?;
    let (ours, theirs) = UnixStream::pair().context("socket pair")?;
    // SAFETY: this program has one thread, so the child's memory and locks are whole.
    let pid = match unsafe { nix::unistd::fork() }.context("fork")? {
        ForkResult::Child => {
            drop(ours);
            let Err(error) = become_worker(spec, &fds);
            jail_socket::reply(&theirs, &JailReply::Failed { message: format!("{error:#}") });
            std::process::exit(127)
        }
        ForkResult::Parent { child } => child.as_raw(),
    };
    drop(theirs);
    drop(fds);
    let worker = ProcessHandle::open(pid).context("worker process")?;
    // Nothing but the right to end a process of another user is needed from here on.
    let kill = caps::CapsHashSet::from([Capability::CAP_KILL]);
    caps::clear(None, CapSet::Inheritable).context("drop capabilities")?;
    caps::set(None, CapSet::Effective, &kill).context("drop capabilities")?;
    caps::set(None, CapSet::Permitted, &kill).context("drop capabilities")?;
    // The socket closes when the worker's program has been executed; a failure before that is told over it.
    if let Some(JailReply::Failed { message }) = jail_socket::read_reply(&ours) {
        worker.wait_ended(None).ok();
        worker.try_reap().ok();
        bail!(message);
    }
    Ok((pid, worker))
}

/// Leaves the host: its control group, namespaces and files.
fn enter_jail(spec: &JailSpec, program: &Path) -> Result<()> {
    // Process 0 is whoever writes it (cgroups(7)).
    Cgroup::named(&spec.cgroup).and_then(|group| group.add(0)).context("control group")?;
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    nix::sched::unshare(flags).context("new namespaces")?;
    nix::unistd::sethostname(&spec.hostname).context("hostname")?;
    let root = jail_root::Root::new(&spec.root)?;
    root.add_system()?;
    if !["/usr", "/bin", "/sbin", "/lib", "/lib64"].iter().any(|d| program.starts_with(d)) {
        root.add_file(program, program)?;
    }
    for (source, target) in &spec.files {
        root.add_file(source, target)?;
    }
    if let Some(memory) = &spec.memory {
        if memory.writable {
            root.bind(&memory.path, Path::new(GuestMemory::INSIDE), false)?;
        } else {
            root.add_file(&memory.path, Path::new(GuestMemory::INSIDE))?;
            root.write_file(Path::new(PRELOAD), PRELOADED)?;
        }
    }
    if spec.thaw.is_some() {
        root.write_program(Path::new(THAW), thaw::PROGRAM)?;
    }
    root.add_device("null")?;
    root.add_device("urandom")?;
    if spec.kvm {
        root.add_device_of("kvm", spec.uid)?;
    }
    root.enter()
}

/// In the child: gives up everything, then becomes the hypervisor. Returns only on failure.
fn become_worker(spec: &JailSpec, fds: &[OwnedFd]) -> Result<std::convert::Infallible> {
    nix::unistd::setsid().context("new session")?;
    let source = spec.thaw.as_ref().map(thaw::Source::open).transpose()?;
    enter_jail(spec, Path::new(spec.command.first().context("no command")?))?;
    let limits = [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_MEMLOCK, 0),
        (Resource::RLIMIT_NOFILE, OPEN_FILES),
        (Resource::RLIMIT_NPROC, spec.threads),
        (Resource::RLIMIT_MSGQUEUE, 0),
    ];
    let command: Vec<String> = spec.command.iter().map(|argument| insert_fds(argument, fds)).collect();
    // Whatever else this program has inherited is not the worker's.
    LinuxSyscall.close_range(0).context("inherited descriptors")?;
    match (&spec.thaw, source) {
        (Some(frozen), Some(source)) => source.place_files(frozen, fds)?,
        _ => pass_files(fds)?,
    }
    for (resource, value) in limits {
        setrlimit(resource, value, value).with_context(|| format!("{resource:?}"))?;
    }
    let arguments = command
        .iter()
        .map(|argument| CString::new(argument.as_str()))
        .collect::<Result<Vec<_>, _>>()
        .context("command line")?;
    let mut environment = vec![c"PATH=/usr/bin:/bin", c"HOME=/"];
    if spec.memory.as_ref().is_some_and(|memory| !memory.writable) {
        environment.push(PRELOAD_VARIABLE);
    }

    // The bounding set first: dropping from it takes a capability that the next lines give up. Capabilities that
    // the host's own bounding set lacks are gone already.
    for capability in caps::read(None, CapSet::Bounding).context("bounding set")? {
        caps::drop(None, CapSet::Bounding, capability).context("bounding set")?;
    }
    let (user, group) = (Uid::from_raw(spec.uid), Gid::from_raw(spec.uid));
    nix::unistd::setgroups(&[]).context("groups")?;
    nix::unistd::setresgid(group, group, group).context("group")?;
    nix::unistd::setresuid(user, user, user).context("user")?;
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).with_context(|| format!("{set:?} capabilities"))?;
    }
    nix::sys::prctl::set_no_new_privs().context("no_new_privs")?;
    cofferdam_sys::process::die_with_parent(nix::sys::signal::Signal::SIGKILL)
        .context("parent death signal")?;
    jail_filter::load().context("seccomp")?;
    let program = CString::new(if spec.thaw.is_some() { THAW } else { command[0].as_str() })?;
    match nix::unistd::execve(&program, &arguments, &environment) {
        Ok(never) => match never {},
        Err(error) => bail!("{}: {error}", program.to_string_lossy()),
    }
}

/// Hands the descriptors to the program: the last as its standard error, the others under their numbers.
fn pass_files(fds: &[OwnedFd]) -> Result<()> {
    if let Some(stderr) = fds.last() {
        rustix::stdio::dup2_stderr(stderr).context("standard error")?;
    }
    let null = File::options().read(true).write(true).open("/dev/null").context("/dev/null")?;
    rustix::stdio::dup2_stdin(&null).context("standard input")?;
    rustix::stdio::dup2_stdout(&null).context("standard output")?;
    for fd in fds.iter().rev().skip(1) {
        cofferdam_sys::unix::keep_on_exec(fd).context("passed descriptor")?;
    }
    Ok(())
}

/// Replaces `{fd:N}` by the N-th descriptor's number.
fn insert_fds(argument: &str, fds: &[OwnedFd]) -> String {
    use std::os::fd::AsRawFd as _;
    let mut text = argument.to_owned();
    for (index, fd) in fds.iter().enumerate() {
        text = text.replace(&format!("{{fd:{index}}}"), &fd.as_raw_fd().to_string());
    }
    text
}

/// Waits for the worker's end or the shim's, whichever comes first.
fn supervise(socket: &UnixStream, pid: i32, worker: &ProcessHandle) -> ExitCode {
    jail_socket::reply(socket, &JailReply::Started { pid });
    loop {
        let mut events =
            [PollFd::new(socket, PollFlags::IN), PollFd::from_borrowed_fd(worker.as_fd(), PollFlags::IN)];
        if rustix::io::retry_on_intr(|| rustix::event::poll(&mut events, None)).is_err() {
            break;
        }
        let (shim, ended) = (events[0].revents(), events[1].revents());
        if !ended.is_empty() {
            break;
        }
        if !shim.is_empty() {
            worker.signal(libc::SIGKILL).ok();
            worker.wait_ended(None).ok();
        }
    }
    let status = match worker.try_reap() {
        Ok(Some(Ended::Code(code))) => format!("exit status {code}"),
        Ok(Some(Ended::Signal(signal))) => format!("signal {signal}"),
        Ok(None) => "unknown".to_owned(),
        Err(error) => error.to_string(),
    };
    jail_socket::reply(socket, &JailReply::Ended { status });
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn descriptors_are_named_by_number() {
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let number = file.as_raw_fd();
        assert_eq!(
            insert_fds("socket,fd={fd:0},x={fd:1}", &[file]),
            format!("socket,fd={number},x={{fd:1}}")
        );
    }
}
