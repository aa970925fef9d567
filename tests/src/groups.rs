//! A container's control groups, as it sees them and as the host does.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{Case, check};

/// A file of a controller, in both versions of control groups.
#[derive(Clone, Copy)]
pub struct Knob {
    /// Version 1's controller and file.
    pub v1: (&'static str, &'static str),
    /// Version 2's file.
    pub v2: &'static str,
}

/// The memory limit.
pub const MEMORY: Knob = Knob { v1: ("memory", "memory.limit_in_bytes"), v2: "memory.max" };
/// The soft one.
pub const RESERVATION: Knob = Knob { v1: ("memory", "memory.soft_limit_in_bytes"), v2: "memory.low" };
/// The number of processes.
pub const PIDS: Knob = Knob { v1: ("pids", "pids.max"), v2: "pids.max" };
/// CPU time; version 2's period stands behind it.
pub const QUOTA: Knob = Knob { v1: ("cpu", "cpu.cfs_quota_us"), v2: "cpu.max" };
/// The set of CPUs.
pub const CPUS: Knob = Knob { v1: ("cpuset", "cpuset.cpus"), v2: "cpuset.cpus" };

impl Knob {
    /// Its first word, as a program in the container reads it.
    pub fn inside(self, case: &Case, container: &str) -> Result<String> {
        let (controller, file) = self.v1;
        let script = format!(
            "cd /sys/fs/cgroup; if [ -e {v2} ]; then cat {v2}; else cat {controller}/{file}; fi",
            v2 = self.v2
        );
        first_word(&case.shell(container, &script)?)
    }

    /// Its first word in the group of the process that `inspect` names: the container's own, or its VM's worker.
    pub fn on_host(self, case: &Case, container: &str) -> Result<String> {
        let pid = case.inspect(container)?["State"]["Pid"].to_string();
        let path = self.path(&std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?)?;
        first_word(&std::fs::read_to_string(&path).with_context(|| path.display().to_string())?)
    }

    fn path(self, groups: &str) -> Result<PathBuf> {
        let (controller, file) = self.v1;
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        // `number:controllers:/group`; version 2's has no controllers.
        let group = |has: &dyn Fn(&str) -> bool| {
            groups.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                has(fields.next()?).then(|| fields.next()).flatten()
            })
        };
        let mount = |kind: &str, option: &str| {
            mounts.lines().find_map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                let good =
                    fields[2] == kind && (option.is_empty() || fields[3].split(',').any(|one| one == option));
                good.then(|| PathBuf::from(fields[1]))
            })
        };
        let (mount, group, file) = match group(&|names| names.split(',').any(|name| name == controller)) {
            Some(group) => (mount("cgroup", controller), group, file),
            None => (mount("cgroup2", ""), group(&str::is_empty).context("no group")?, self.v2),
        };
        check!(group.len() > 1, "{controller}: in the root group");
        Ok(mount.context("control groups are not mounted")?.join(group.trim_start_matches('/')).join(file))
    }
}

fn first_word(text: &str) -> Result<String> {
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}
