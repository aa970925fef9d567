//! CPU time of everything that a command causes: client, daemon, shim, container, VM.
//!
//! A control group adds all of that up to the nanosecond, also of processes that are gone; the benchmark joins one,
//! and what it starts follows. Containers are moved on to groups of the daemon's own, which are added.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Reads the CPU time used so far.
pub struct CpuMeter {
    own: PathBuf,
    containers: PathBuf,
    /// Where this process was before.
    home: PathBuf,
}

impl CpuMeter {
    /// Joins a new group; `instance` is the name of the daemon that will be started.
    pub fn start(instance: &str) -> Result<Self> {
        let (root, name) = hierarchy()?;
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let home = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            (parts.next()? == name).then(|| parts.next())?
        });
        let home = root.join(home.unwrap_or("/").trim_start_matches('/'));
        let own = root.join(format!("cofferdam-bench-{}", std::process::id()));
        fs::create_dir(&own).with_context(|| format!("create {}", own.display()))?;
        let meter = Self { own, containers: root.join(format!("cofferdam-{instance}")), home };
        join(&meter.own)?;
        Ok(meter)
    }

    /// Nanoseconds until now.
    pub fn nanoseconds(&self) -> u64 {
        used(&self.own) + used(&self.containers)
    }
}

impl Drop for CpuMeter {
    fn drop(&mut self) {
        // What cannot be undone is an empty group, which a reboot removes.
        let _ = join(&self.home);
        let _ = fs::remove_dir(&self.own);
    }
}

/// The root of the hierarchy that counts CPU time, and its name in /proc/self/cgroup.
fn hierarchy() -> Result<(PathBuf, String)> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    for line in groups.lines() {
        let controllers = line.split(':').nth(1).unwrap_or_default();
        if controllers.split(',').any(|name| name == "cpuacct") {
            return Ok((Path::new("/sys/fs/cgroup").join(controllers), controllers.to_owned()));
        }
    }
    if fs::exists("/sys/fs/cgroup/cgroup.procs")? {
        return Ok((PathBuf::from("/sys/fs/cgroup"), String::new()));
    }
    bail!("no control groups that count CPU time")
}

fn join(group: &Path) -> Result<()> {
    let file = group.join("cgroup.procs");
    fs::write(&file, std::process::id().to_string()).with_context(|| format!("join {}", group.display()))
}

fn used(group: &Path) -> u64 {
    if let Ok(text) = fs::read_to_string(group.join("cpuacct.usage")) {
        return text.trim().parse().unwrap_or_default();
    }
    let text = fs::read_to_string(group.join("cpu.stat")).unwrap_or_default();
    let microseconds = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<u64>().ok());
    microseconds.unwrap_or_default() * 1000
}
