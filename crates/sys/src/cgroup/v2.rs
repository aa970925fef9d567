//! A group in the version 2 hierarchy.

use std::path::{Path, PathBuf};

use cofferdam_model::Usage;

use super::{CgroupError, Limits, at, keyed, number, read_optional, summed, write};

const CPU_PERIOD: u64 = 100_000;

/// The controllers that containers are limited and counted by.
const HANDED_DOWN: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The group's one directory.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    mount: PathBuf,
    path: PathBuf,
}

impl Directory {
    pub(super) fn new(mount: &Path, below: &str) -> Self {
        Self { mount: mount.to_owned(), path: mount.join(below) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn create(&self) -> Result<(), CgroupError> {
        std::fs::create_dir_all(&self.path).map_err(at(&self.path))?;
        let mut parents: Vec<&Path> =
            self.path.ancestors().skip(1).take_while(|path| path.starts_with(&self.mount)).collect();
        parents.reverse();
        for parent in parents {
            let available = read_optional(&parent.join("cgroup.controllers"))?.unwrap_or_default();
            for controller in available.split_ascii_whitespace().filter(|name| HANDED_DOWN.contains(name)) {
                // One by one: a controller that cannot be handed down (a parent with processes of its own) matters
                // only when a limit needs it, and is named then.
                let _ = write(&parent.join("cgroup.subtree_control"), &format!("+{controller}"));
            }
        }
        Ok(())
    }

    fn file(
        &self,
        name: &str,
        controller: &'static str,
        limit: &'static str,
    ) -> Result<PathBuf, CgroupError> {
        let path = self.path.join(name);
        if path.exists() { Ok(path) } else { Err(CgroupError::MissingController { controller, limit }) }
    }

    pub(super) fn set_limits(&self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(bytes) = limits.memory {
            write(&self.file("memory.max", "memory", "memory")?, &bytes.to_string())?;
        }
        if let Some(text) = swap_max(limits) {
            self.file("memory.current", "memory", "memory")?;
            // Without swap accounting the file is missing.
            let path = self.path.join("memory.swap.max");
            if path.exists() {
                write(&path, &text)?;
            }
        }
        if let Some(nano_cpus) = limits.nano_cpus {
            let quota = nano_cpus.saturating_mul(CPU_PERIOD) / 1_000_000_000;
            let quota = if nano_cpus == 0 { "max".to_owned() } else { quota.max(1000).to_string() };
            write(&self.file("cpu.max", "cpu", "CPU time")?, &format!("{quota} {CPU_PERIOD}"))?;
        }
        if let Some(shares) = limits.cpu_shares {
            write(&self.file("cpu.weight", "cpu", "CPU weight")?, &weight(shares).to_string())?;
        }
        if let Some(pids) = limits.pids {
            let text = if pids <= 0 { "max".to_owned() } else { pids.to_string() };
            write(&self.file("pids.max", "pids", "the number of processes")?, &text)?;
        }
        Ok(())
    }

    /// Asks for a frozen group and says whether it is already.
    pub(super) fn freeze(&self) -> Result<bool, CgroupError> {
        write(&self.path.join("cgroup.freeze"), "1")?;
        let events = read_optional(&self.path.join("cgroup.events"))?.unwrap_or_default();
        Ok(keyed(&events, "frozen") == 1)
    }

    pub(super) fn thaw(&self) -> Result<(), CgroupError> {
        let path = self.path.join("cgroup.freeze");
        if path.exists() { write(&path, "0") } else { Ok(()) }
    }

    /// Has the kernel (5.14 and later) kill everything; whether it can.
    pub(super) fn kill(&self) -> Result<bool, CgroupError> {
        let path = self.path.join("cgroup.kill");
        if !path.exists() {
            return Ok(false);
        }
        write(&path, "1")?;
        // A frozen group dies as it is, and must not keep a later process frozen.
        self.thaw()?;
        Ok(true)
    }

    pub(super) fn oom_kills(&self) -> Result<u64, CgroupError> {
        let events = read_optional(&self.path.join("memory.events"))?;
        Ok(events.map_or(0, |text| keyed(&text, "oom_kill")))
    }

    pub(super) fn usage(&self) -> Result<Usage, CgroupError> {
        let text = |file| Ok(read_optional(&self.path.join(file))?.unwrap_or_default());
        let (cpu, memory, disks): (String, String, String) =
            (text("cpu.stat")?, text("memory.stat")?, text("io.stat")?);
        let nanos = |key| keyed(&cpu, key).saturating_mul(1000);
        Ok(Usage {
            memory: number(&self.path.join("memory.current"))?,
            memory_limit: number(&self.path.join("memory.max"))?,
            inactive_file: keyed(&memory, "inactive_file"),
            cpu_nanos: nanos("usage_usec"),
            cpu_user_nanos: nanos("user_usec"),
            cpu_kernel_nanos: nanos("system_usec"),
            periods: keyed(&cpu, "nr_periods"),
            throttled_periods: keyed(&cpu, "nr_throttled"),
            throttled_nanos: nanos("throttled_usec"),
            pids: number(&self.path.join("pids.current"))?,
            pids_limit: number(&self.path.join("pids.max"))?,
            read_bytes: summed(&disks, "rbytes"),
            written_bytes: summed(&disks, "wbytes"),
            interfaces: Vec::new(),
        })
    }
}

/// Version 2 limits swap alone, Docker memory and swap together.
fn swap_max(limits: &Limits) -> Option<String> {
    match limits.memory_swap? {
        total if total < 0 => Some("max".to_owned()),
        total => Some(total.unsigned_abs().saturating_sub(limits.memory.unwrap_or(0)).to_string()),
    }
}

/// Version 1's shares (2 to 262144) as version 2's weight (1 to 10000), by the conversion all runtimes use.
fn weight(shares: u64) -> u64 {
    1 + ((shares.clamp(2, 262_144) - 2) * 9999) / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weight() {
        assert_eq!([weight(0), weight(2), weight(1024), weight(262_144)], [1, 1, 39, 10_000]);
    }

    #[test]
    fn swap_is_what_remains() {
        let limits = |memory, memory_swap| Limits { memory, memory_swap, ..Limits::default() };
        assert_eq!(swap_max(&limits(Some(100), Some(150))).as_deref(), Some("50"));
        assert_eq!(swap_max(&limits(Some(100), Some(-1))).as_deref(), Some("max"));
        assert_eq!(swap_max(&limits(Some(100), None)), None);
    }
}
