//! A process that reads or writes a container's files (`cofferdam_model::ArchiveOrder`), in place of a program.
//!
//! It joins the container's mount namespace and nothing else: it is where the container's paths mean what they mean in
//! there, and no path leads to the host. It stays out of the container's PID namespace and cannot be traced, because it
//! is not held by the container's seccomp filter and device rules; and out of its cgroup, so that it works on one that
//! is paused. It executes nothing.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use caps::Capability;
use cofferdam_archive::{self as archive, Bounds, Form, Options};
use cofferdam_model::ArchiveOrder;
use cofferdam_sys::process::ProcessHandle;
use libcontainer::syscall::Syscall;
use libcontainer::syscall::linux::LinuxSyscall;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, setrlimit};

use crate::control::{Made, Streams};
use crate::exec::{pipe, place};
use crate::failure::Failure;
use crate::fork::fork_sibling;
use crate::privileges;

/// What reading and writing all users' files takes.
const KEPT: [Capability; 7] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_MKNOD,
    Capability::CAP_SETFCAP,
];

/// Bytes of address space: an archive with senseless lengths must not fill the memory.
const MEMORY: u64 = 512 << 20;

/// Where a guest has the parts of its container's root file system.
const GUEST_UPPER: &str = "/run/cofferdam/disk/upper";
const GUEST_LOWER: &str = "/run/cofferdam/image";

/// Starts it.
pub fn start(init: i32, order: &ArchiveOrder, streams: Streams) -> Result<Made, Failure> {
    let init = ProcessHandle::open(init).map_err(|error| Failure::new("container is not running", error))?;
    let (mut verdict, mut report) = pipe()?;
    match fork_sibling().map_err(|error| Failure::new("fork", error))? {
        None => {
            drop(verdict);
            if let Err(failure) = enter(&init, order, streams) {
                let _ = report.write_all(failure.message.as_bytes());
                std::process::exit(255);
            }
            drop(report);
            std::process::exit(run(order).into());
        }
        Some(pid) => {
            drop((report, streams));
            let mut message = String::new();
            verdict.read_to_string(&mut message).map_err(|error| Failure::new("archive", error))?;
            if message.is_empty() { Ok(Made { pid, master: None }) } else { Err(Failure::from_text(message)) }
        }
    }
}

fn enter(init: &ProcessHandle, order: &ArchiveOrder, streams: Streams) -> Result<(), Failure> {
    let failed = |what: &'static str| move |error: nix::Error| Failure::new(what, error);
    nix::sys::prctl::set_dumpable(false).map_err(failed("dumpable"))?;
    nix::unistd::setsid().map_err(failed("session"))?;
    place(streams.fds)?;
    // A guest's overlay is looked at from outside of the container.
    if !order.is_about_overlay() {
        nix::sched::setns(init, CloneFlags::CLONE_NEWNS).map_err(failed("container's files"))?;
    }
    nix::unistd::chdir("/").map_err(failed("root directory"))?;
    rustix::process::umask(rustix::fs::Mode::empty());
    setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY).map_err(failed("memory limit"))?;
    LinuxSyscall.close_range(0).map_err(|error| Failure::from_chain(&error))?;
    // Overlayfs's own marks are root's attributes. A guest has an administrator's rights to lose only to itself.
    let marks = order.is_about_overlay().then_some(Capability::CAP_SYS_ADMIN);
    let kept: Vec<_> = KEPT.into_iter().chain(marks).collect();
    privileges::keep_only(&kept).map_err(|error| Failure::new("capabilities", format_args!("{error:#}")))
}

/// Does it; the exit code.
fn run(order: &ArchiveOrder) -> u8 {
    match carry_out(order) {
        Ok(()) => 0,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{failure}");
            failure.code()
        }
    }
}

fn carry_out(order: &ArchiveOrder) -> Result<(), archive::Failure> {
    // Not `io::stdout`, which looks for line ends in everything.
    let failed = |error: io::Error| archive::Failure::Io("standard output".to_owned(), error);
    let stdout = rustix::io::dup(rustix::stdio::stdout()).map_err(|error| failed(error.into()))?;
    let mut out = io::BufWriter::with_capacity(64 << 10, File::from(stdout));
    match order {
        ArchiveOrder::Stat { path } => {
            let stat = archive::stat(path)?;
            line(&mut out, &stat).map_err(failed)?;
        }
        ArchiveOrder::Read { path } => archive::read(path, &mut out, |out, stat| line(out, stat))?,
        ArchiveOrder::Write { path, keep_kinds, owner } => {
            let options = Options { keep_kinds: *keep_kinds, owner: *owner };
            let mut input = io::BufReader::with_capacity(64 << 10, io::stdin().lock());
            archive::write(path, &mut input, options)?;
            // Whoever sends may have padding left.
            io::copy(&mut input, &mut io::sink()).map_err(failed)?;
        }
        ArchiveOrder::Export => archive::export(&mut out)?,
        ArchiveOrder::Changes { ignored } => {
            let ignored: Vec<&str> = ignored.iter().map(String::as_str).collect();
            let changes = archive::changes(Path::new(GUEST_UPPER), &[Path::new(GUEST_LOWER)], &ignored);
            line(&mut out, &changes.map_err(failed)?).map_err(failed)?;
        }
        ArchiveOrder::Layer { ignored } => {
            let ignored: Vec<&str> = ignored.iter().map(String::as_str).collect();
            let layer = archive::layer(Path::new(GUEST_UPPER), Form::Oci, &ignored, &mut out);
            layer.map_err(overlay)?;
        }
        ArchiveOrder::Tree => {
            archive::layer(Path::new(GUEST_UPPER), Form::Overlay, &[], &mut out).map_err(overlay)?;
        }
        ArchiveOrder::Restore { bytes, entries } => {
            let mut input = io::BufReader::with_capacity(64 << 10, io::stdin().lock());
            let bounds = Bounds { bytes: *bytes, entries: *entries };
            replace_upper(|fresh| archive::restore(fresh, &mut input, bounds)).map_err(overlay)?;
            io::copy(&mut input, &mut io::sink()).map_err(failed)?;
        }
        ArchiveOrder::Digest => {
            let digest = archive::digest(Path::new(GUEST_UPPER)).map_err(overlay)?;
            line(&mut out, &digest.to_string()).map_err(failed)?;
        }
    }
    out.flush().map_err(failed)
}

/// Puts another tree in the upper directory's place. The overlay that is mounted goes on with the one that it has, in which
/// the container's mount points are; the next one finds the new.
fn replace_upper(fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let upper = Path::new(GUEST_UPPER);
    let (fresh, old) = (upper.with_extension("fresh"), upper.with_extension("old"));
    std::fs::create_dir(&fresh)?;
    fill(&fresh)?;
    std::fs::rename(upper, &old)?;
    std::fs::rename(&fresh, upper)?;
    std::fs::remove_dir_all(&old)?;
    // Whether it is on the disk, and the disk's file on the host took it.
    Ok(rustix::fs::syncfs(File::open(upper)?)?)
}

fn overlay(error: io::Error) -> archive::Failure {
    archive::Failure::Io("the writable layer".to_owned(), error)
}

/// A value as one line of JSON.
fn line(out: &mut dyn io::Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
