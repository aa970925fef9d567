//! `create`: a container by libcontainer, up to the point where only its own program is missing.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Component, Path, PathBuf};

use cofferdam_model::HelperCreate;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use oci_spec::runtime::{LinuxResources, Spec};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::control::{Made, Streams, receive_fd};
use crate::diagnosis::Diagnosis;
use crate::failure::Failure;
use crate::park::Park;
use crate::privileges::Privileges;
use crate::program::Program;
use crate::seccomp::Filter;
use crate::{adapt, cgroups, sysctl, terminal};

/// What Docker's clients are told first, and match on.
pub const PREFIX: &str = "OCI runtime create failed: unable to start container process";
/// The specification: the bundle's, and in the state directory as libcontainer and `exec` read it.
pub const SPEC: &str = "config.json";
/// The container's compiled seccomp profile, in the state directory. A container without one has an empty filter.
pub const SECCOMP: &str = "seccomp.bpf";
/// The console socket, in the state directory.
const CONSOLE: &str = "console.sock";

/// Creates the container of `request`. On failure nothing of it is left.
pub fn create(request: HelperCreate, streams: Streams) -> Result<Made, Failure> {
    let result = attempt(&request, streams);
    if result.is_err() {
        let _ = fs::remove_dir_all(request.state_root.join(&request.id));
    }
    let _ = fs::remove_file(request.state_root.join(CONSOLE));
    result.map_err(|failure| failure.prefixed(PREFIX))
}

fn attempt(request: &HelperCreate, mut streams: Streams) -> Result<Made, Failure> {
    let (spec, privileges) = adapted_spec(request)?;
    let process = spec.process().as_ref().ok_or_else(|| Failure::new("config.json", "it has no process"))?;
    let rootfs = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    make_working_directory(&rootfs, process.cwd())?;

    let park = if request.parked {
        let orders = streams.fds.pop();
        Some(Park::on(orders.ok_or_else(|| Failure::new("helper request", "no stream for orders came"))?))
    } else {
        None
    };
    let mut builder = ContainerBuilder::new(request.id.clone(), SyscallType::Linux)
        .with_executor(Program { privileges, park })
        .with_root_path(&request.state_root)
        .map_err(|error| Failure::from_chain(&error))?;
    let mut console = None;
    if request.terminal {
        console = Some(listen(&request.state_root)?);
        builder = builder.with_console_socket(Some(request.state_root.join(CONSOLE)));
    } else {
        let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(streams.fds).map_err(|fds| {
            Failure::new("helper request", format!("{} descriptors came, not 3", fds.len()))
        })?;
        for stream in [&stdin, &stdout, &stderr] {
            terminal::own(stream, process)?;
        }
        builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
    }

    let diagnosis = Diagnosis::listen();
    let container = builder
        .as_init(&request.state_root)
        .with_systemd(false)
        .with_detach(true)
        .as_sibling(true)
        .build()
        .map_err(|error| explain(&error, diagnosis))?;
    let pid = container.pid().ok_or_else(|| Failure::new("create", "the container has no process"))?.as_raw();

    let finish = || -> Result<Option<OwnedFd>, Failure> {
        cgroups::filter_devices(&spec)?;
        let Some(console) = console else { return Ok(None) };
        let (socket, _) = console.accept().map_err(|error| Failure::new("console socket", error))?;
        let master = receive_fd(socket.as_fd())?;
        terminal::prepare(&master, process)?;
        Ok(Some(master))
    };
    finish().map(|master| Made { pid, master }).inspect_err(|_| {
        // The state directory goes with the caller's cleaning up; the process must not wait for a start for ever.
        if let Ok(init) = cofferdam_sys::process::ProcessHandle::open(pid) {
            let _ = init.signal(nix::sys::signal::Signal::SIGKILL as i32);
        }
    })
}

/// Reads the bundle's specification, adapts it to this host and leaves it where libcontainer and `exec` read it.
/// Privileges are taken out: they are ours to give up, in the last step.
fn adapted_spec(request: &HelperCreate) -> Result<(Spec, Privileges), Failure> {
    let path = request.bundle.join(SPEC);
    let mut spec = Spec::load(&path).map_err(|error| Failure::new(path.display(), error))?;
    spec.canonicalize_rootfs(&request.bundle).map_err(|error| Failure::new("root file system", error))?;
    let mut privileges =
        Privileges { capabilities: None, filter: Filter::default(), no_new_privileges: false };
    if let Some(process) = spec.process_mut() {
        adapt::adapt(process)?;
        privileges.no_new_privileges = process.no_new_privileges() == Some(true);
        privileges.capabilities = process.capabilities().clone();
        process.set_capabilities(None);
    }
    if let Some(linux) = spec.linux_mut() {
        sysctl::apply_network(linux)?;
        // The group has its limits already; what is left to libcontainer is version 1's device rules.
        let devices = linux.resources().as_ref().and_then(|resources| resources.devices().clone());
        let mut resources = LinuxResources::default();
        resources.set_devices(devices);
        linux.set_resources(Some(resources));
        if let Some(profile) = linux.seccomp() {
            privileges.filter = Filter::of(profile, request.cache.as_deref())?;
        }
        linux.set_seccomp(None);
    }
    fs::create_dir_all(&request.state_root)
        .map_err(|error| Failure::new(request.state_root.display(), error))?;
    let path = request.state_root.join(SPEC);
    spec.save(&path).map_err(|error| Failure::new(path.display(), error))?;
    privileges.filter.save(&request.state_root.join(SECCOMP))?;
    Ok((spec, privileges))
}

/// Makes the working directory inside the root file system when it is missing, as Docker does. Links of the image
/// are followed inside the root file system only.
fn make_working_directory(rootfs: &Path, cwd: &Path) -> Result<(), Failure> {
    let failed =
        |error: rustix::io::Errno| Failure::new(format_args!("working directory {}", cwd.display()), error);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(rootfs, flags, Mode::empty()).map_err(failed)?;
    let inside = |path: &Path| rustix::fs::openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
    let mut path = PathBuf::new();
    let mut parent = rustix::fs::openat(&root, ".", flags, Mode::empty()).map_err(failed)?;
    for component in cwd.components() {
        let Component::Normal(name) = component else { continue };
        path.push(name);
        parent = match inside(&path) {
            Err(rustix::io::Errno::NOENT) => {
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)).map_err(failed)?;
                inside(&path).map_err(failed)?
            }
            found => found.map_err(failed)?,
        };
    }
    Ok(())
}

fn listen(directory: &Path) -> Result<UnixListener, Failure> {
    let path = directory.join(CONSOLE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Failure::new(path.display(), error)),
        _ => {}
    }
    cofferdam_sys::unix::bind(directory, CONSOLE).map_err(|error| Failure::new(path.display(), error))
}

/// The init process sends only its outermost words; what it said about the program to run is complete.
fn explain(error: &LibcontainerError, diagnosis: Option<Diagnosis>) -> Failure {
    let failure = Failure::from_chain(error);
    if let Some(refusal) = failure.message.find("exec: \"") {
        return Failure::from_text(&failure.message[refusal..]);
    }
    match diagnosis.and_then(Diagnosis::first) {
        Some(cause) if !failure.message.contains(&cause) => Failure::new(failure.message, cause),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_working_directory_is_made_and_never_outside() {
        let root = tempfile::tempdir().unwrap();
        let (rootfs, outside) = (root.path().join("rootfs"), root.path().join("outside"));
        fs::create_dir_all(&rootfs).unwrap();
        fs::create_dir_all(&outside).unwrap();
        make_working_directory(&rootfs, Path::new("/a/b/c")).unwrap();
        assert!(rootfs.join("a/b/c").is_dir());
        symlink(&outside, rootfs.join("escape")).unwrap();
        symlink("../../outside", rootfs.join("relative")).unwrap();
        assert!(make_working_directory(&rootfs, Path::new("/escape/x")).is_err());
        assert!(make_working_directory(&rootfs, Path::new("/relative/x")).is_err());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
