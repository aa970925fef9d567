//! The room in which everything is measured: network, mounts, processes and shared memory of its own.
//!
//! Peers make bridges, firewall rules, mounts and files in `/run` that no flag of theirs moves elsewhere. In here they
//! may: all of it belongs to namespaces that vanish with their last process, and our own engine is measured in the
//! same room, so that nobody has an advantage. The benchmark runs itself three times: outside, as the room's first
//! process, which reaps what nobody else waits for, and as the one that measures.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind_recursive, unmount};
use rustix::process::{WaitOptions, wait};

use super::Stage;
use crate::project::run;

/// From outside: runs the measuring stage in a new room, on these programs, and waits for its end.
pub fn enter(dir: &Path, programs: &Path) -> Result<()> {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc"]);
    command.args(["--propagation", "private", "--"]).arg(std::env::current_exe()?);
    command.args(again(Stage::Init)).arg("--dir").arg(dir).env("COFFERDAM_BIN", programs);
    let status = command.status().context("cannot start unshare")?;
    anyhow::ensure!(status.success(), "nothing was measured to the end: {status}");
    Ok(())
}

/// As the room's first process: makes it fit to live in, then waits for the measuring stage, and for every orphan.
pub fn keep(dir: &Path) -> Result<ExitCode> {
    furnish(dir)?;
    let child = Command::new(std::env::current_exe()?)
        .args(again(Stage::Measure))
        .spawn()
        .context("cannot start the measuring stage")?;
    let child = rustix::process::Pid::from_child(&child);
    loop {
        if let Some((pid, status)) = wait(WaitOptions::empty())?
            && pid == child
        {
            let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
            return Ok(ExitCode::from(code.unwrap_or(1)));
        }
    }
}

/// This process's own arguments for another stage.
fn again(stage: Stage) -> Vec<OsString> {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(place) = words.iter().position(|word| word == "--stage") {
        words.drain(place..place + 2);
    }
    words.extend(["--stage".into(), stage.word().into()]);
    words
}

fn furnish(dir: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    // sysfs shows the network of whoever mounted it; the control groups below it are the host's.
    let groups = dir.join("cgroup");
    fs::create_dir_all(&groups)?;
    mount_bind_recursive("/sys/fs/cgroup", &groups).context("keep /sys/fs/cgroup")?;
    mount("sysfs", "/sys", "sysfs", flags, None).context("mount sysfs")?;
    mount_bind_recursive(&groups, "/sys/fs/cgroup").context("bring back /sys/fs/cgroup")?;
    unmount(&groups, UnmountFlags::DETACH)?;
    // What daemons leave where their flags do not reach. The resolver's file may be a link into one of these.
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let place = fs::canonicalize("/etc/resolv.conf").unwrap_or_default();
    for place in ["/run", "/dev/shm", "/var/lib/containers"] {
        if Path::new(place).exists() {
            mount("tmpfs", place, "tmpfs", flags, None).with_context(|| format!("mount {place}"))?;
        }
    }
    if place.starts_with("/run") {
        fs::create_dir_all(place.parent().context("a file is in a directory")?)?;
        fs::write(&place, resolver)?;
    }
    run(Command::new("ip").args(["link", "set", "lo", "up"]))
}
