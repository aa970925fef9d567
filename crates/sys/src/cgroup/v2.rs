//! A group in the version 2 hierarchy.

use std::path::{Path, PathBuf};

use cofferdam_model::resources::{BlockIo, Cpu, DiskRate, DiskWeight, Memory};
use cofferdam_model::{Resources, Usage};

use super::oom_watch::OomWatch;
use super::setting::Setting;
use super::{CgroupError, at, keyed, number, read_optional, summed, write};

/// The kernel's word for no limit.
const NONE: &str = "max";

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

    fn setting(
        &self,
        name: &str,
        value: impl Into<String>,
        controller: &'static str,
        limit: &'static str,
    ) -> Result<Setting, CgroupError> {
        let path = self.path.join(name);
        if path.exists() {
            return Ok(Setting::new(path, value));
        }
        Err(CgroupError::MissingController { controller, limit })
    }

    /// What is to be written for these limits, in this order.
    pub(super) fn settings(&self, limits: &Resources) -> Result<Vec<Setting>, CgroupError> {
        let mut settings = Vec::new();
        let (memory, cpu) = (&limits.memory, &limits.cpu);
        if let Some(bytes) = memory.limit {
            settings.push(self.setting("memory.max", bytes.to_string(), "memory", "memory")?);
        }
        match swap_max(memory) {
            // Without swap accounting there is no such file: no limit is what there is then.
            Some(text) if text == NONE && !self.path.join("memory.swap.max").exists() => {}
            Some(text) => settings.push(self.setting("memory.swap.max", text, "memory", "swap")?),
            None => {}
        }
        if let Some(bytes) = memory.reservation {
            settings.push(self.setting("memory.low", bytes.to_string(), "memory", "memory")?);
        }
        if cpu.quota.is_some() || cpu.period.is_some() {
            settings.push(self.setting("cpu.max", cpu_max(cpu), "cpu", "CPU time")?);
        }
        if let Some(shares) = cpu.shares {
            settings.push(self.setting("cpu.weight", weight(shares).to_string(), "cpu", "CPU weight")?);
        }
        for (file, value) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
            if let Some(value) = value {
                settings.push(self.setting(file, value, "cpuset", "the set of CPUs")?);
            }
        }
        if let Some(pids) = limits.pids.limit {
            let text = if pids <= 0 { NONE.to_owned() } else { pids.to_string() };
            settings.push(self.setting("pids.max", text, "pids", "the number of processes")?);
        }
        self.disks(&limits.block_io, &mut settings)?;
        let version_1 = [
            (memory.swappiness.is_some(), "memory swappiness"),
            (memory.disable_oom_killer == Some(true), "the OOM killer"),
            (cpu.realtime_runtime.is_some() || cpu.realtime_period.is_some(), "real-time CPU time"),
        ];
        match version_1.into_iter().find(|(asked, _)| *asked) {
            Some((_, limit)) => Err(CgroupError::MissingController { controller: "version 1", limit }),
            None => Ok(settings),
        }
    }

    fn disks(&self, limits: &BlockIo, settings: &mut Vec<Setting>) -> Result<(), CgroupError> {
        let bfq = self.path.join("io.bfq.weight").exists();
        let weighed = |weight: u16| if bfq { u64::from(weight) } else { io_weight(weight) };
        let file = if bfq { "io.bfq.weight" } else { "io.weight" };
        if let Some(weight) = limits.weight {
            settings.push(self.setting(file, weighed(weight).to_string(), "io", "disk weight")?);
        }
        for DiskWeight { major, minor, weight } in &limits.weight_device {
            let text = format!("{major}:{minor} {}", weighed(*weight));
            settings.push(self.setting(file, text, "io", "disk weight")?.once());
        }
        for (key, rates) in [
            ("rbps", &limits.throttle_read_bps_device),
            ("wbps", &limits.throttle_write_bps_device),
            ("riops", &limits.throttle_read_iops_device),
            ("wiops", &limits.throttle_write_iops_device),
        ] {
            for DiskRate { major, minor, rate } in rates {
                let text = format!("{major}:{minor} {key}={rate}");
                settings.push(self.setting("io.max", text, "io", "disk access")?.once());
            }
        }
        Ok(())
    }

    /// Takes memory back until the group fits below `limit`. A limit below what is in use would be obeyed by killing
    /// (version 1 refuses it).
    pub(super) fn make_room(&self, limit: u64) -> Result<(), CgroupError> {
        let current = self.path.join("memory.current");
        if number(&current)? <= limit {
            return Ok(());
        }
        // Written to, it has the kernel take back at once what it can.
        let high = self.path.join("memory.high");
        let before = read_optional(&high)?.unwrap_or_else(|| NONE.to_owned());
        write(&high, &limit.to_string())?;
        let usage = number(&current);
        write(&high, before.trim())?;
        match usage? {
            usage if usage > limit => Err(CgroupError::MemoryInUse { limit, usage }),
            _ => Ok(()),
        }
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

    pub(super) fn watch_oom(&self) -> Result<Option<OomWatch>, CgroupError> {
        let counted = self.path.join("memory.events").exists();
        counted.then(|| OomWatch::v2(&self.path)).transpose()
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

/// Version 2 limits swap alone, the specification memory and swap together.
fn swap_max(limits: &Memory) -> Option<String> {
    match limits.swap? {
        total if total < 0 => Some(NONE.to_owned()),
        total => Some(total.unsigned_abs().saturating_sub(limits.limit.unwrap_or(0)).to_string()),
    }
}

fn cpu_max(cpu: &Cpu) -> String {
    let quota =
        cpu.quota.filter(|quota| *quota > 0).map_or_else(|| NONE.to_owned(), |quota| quota.to_string());
    format!("{quota} {}", cpu.period.unwrap_or(Cpu::PERIOD))
}

/// Version 1's disk weight (10 to 1000) as version 2's (1 to 10000), by the conversion all runtimes use.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
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
        assert_eq!([io_weight(10), io_weight(500), io_weight(1000)], [1, 4950, 10_000]);
    }

    #[test]
    fn swap_is_what_remains() {
        let limits = |limit, swap| Memory { limit, swap, ..Memory::default() };
        assert_eq!(swap_max(&limits(Some(100), Some(150))).as_deref(), Some("50"));
        assert_eq!(swap_max(&limits(Some(100), Some(-1))).as_deref(), Some("max"));
        assert_eq!(swap_max(&limits(Some(100), None)), None);
    }

    #[test]
    fn processor_time() {
        let max = |quota, period| cpu_max(&Cpu { quota, period, ..Cpu::default() });
        assert_eq!(max(Some(50_000), None), "50000 100000");
        assert_eq!(max(Some(-1), Some(20_000)), "max 20000");
        assert_eq!(max(None, Some(20_000)), "max 20000");
    }
}
