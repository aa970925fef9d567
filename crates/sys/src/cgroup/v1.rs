//! A group in the version 1 hierarchies, one for each controller.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cofferdam_model::resources::{BlockIo, Cpu, DiskRate, DiskWeight, Memory};
use cofferdam_model::{Resources, Usage};

use super::oom_watch::OomWatch;
use super::setting::Setting;
use super::{CgroupError, at, keyed, number, read, read_optional, subdirectories, tree, write};

/// What the kernel's files count in (`USER_HZ` is 100 wherever this engine runs).
const TICK_NANOS: u64 = 10_000_000;

/// The group's directory in each controller.
#[derive(Clone, Debug)]
pub(super) struct Directories {
    by_controller: BTreeMap<String, PathBuf>,
    /// The mount points, which groups are made below.
    mounts: BTreeSet<PathBuf>,
}

impl Directories {
    pub(super) fn new(mounts: &BTreeMap<String, PathBuf>, below: &str) -> Self {
        Self {
            by_controller: mounts.iter().map(|(name, mount)| (name.clone(), mount.join(below))).collect(),
            mounts: mounts.values().cloned().collect(),
        }
    }

    /// Each directory once: controllers may share a hierarchy.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        self.by_controller.values().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn create(&self) -> Result<(), CgroupError> {
        for directory in self.all() {
            std::fs::create_dir_all(&directory).map_err(at(&directory))?;
        }
        match self.by_controller.get("cpuset") {
            Some(directory) => self.fill_cpuset(directory),
            None => Ok(()),
        }
    }

    /// A new cpuset has no CPUs and no memory nodes, and takes no process until it has: it gets its parent's.
    fn fill_cpuset(&self, directory: &Path) -> Result<(), CgroupError> {
        let ancestors = directory.ancestors().take_while(|path| !self.mounts.contains(*path));
        let groups: Vec<&Path> = ancestors.collect();
        for group in groups.iter().rev() {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let path = group.join(file);
                if read(&path)?.trim().is_empty()
                    && let Some(parent) = group.parent()
                {
                    write(&path, read(&parent.join(file))?.trim())?;
                }
            }
        }
        Ok(())
    }

    fn controller(&self, controller: &'static str, limit: &'static str) -> Result<&Path, CgroupError> {
        let directory = self.by_controller.get(controller).map(PathBuf::as_path);
        directory.ok_or(CgroupError::MissingController { controller, limit })
    }

    fn existing(&self, controller: &str) -> Option<&Path> {
        self.by_controller.get(controller).map(PathBuf::as_path).filter(|directory| directory.exists())
    }

    /// What is to be written for these limits, in this order.
    pub(super) fn settings(&self, limits: &Resources) -> Result<Vec<Setting>, CgroupError> {
        let mut settings = Vec::new();
        if limits.memory != Memory::default() {
            memory(self.controller("memory", "memory")?, &limits.memory, &mut settings)?;
        }
        let cpu = &limits.cpu;
        for (file, value, what) in [
            ("cpu.shares", cpu.shares.map(|shares| shares.to_string()), "CPU weight"),
            ("cpu.cfs_period_us", cpu.period.map(|period| period.to_string()), "CPU time"),
            ("cpu.cfs_quota_us", cpu.quota.map(|quota| quota.max(-1).to_string()), "CPU time"),
            ("cpu.rt_period_us", cpu.realtime_period.map(|period| period.to_string()), "real-time CPU time"),
            ("cpu.rt_runtime_us", cpu.realtime_runtime.map(|time| time.to_string()), "real-time CPU time"),
        ] {
            if let Some(value) = value {
                settings.push(Setting::new(self.controller("cpu", what)?.join(file), value));
            }
        }
        for (file, value) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
            if let Some(value) = value {
                settings.push(Setting::new(self.controller("cpuset", "the set of CPUs")?.join(file), value));
            }
        }
        if let Some(pids) = limits.pids.limit {
            let text = if pids <= 0 { "max".to_owned() } else { pids.to_string() };
            settings.push(Setting::new(
                self.controller("pids", "the number of processes")?.join("pids.max"),
                text,
            ));
        }
        if limits.block_io != BlockIo::default() {
            disks(self.controller("blkio", "disk access")?, &limits.block_io, &mut settings);
        }
        Ok(settings)
    }

    /// Groups have real-time CPU time only from what those above them have: they get what theirs below are to have.
    pub(super) fn make_realtime_room(&self, cpu: &Cpu) -> Result<(), CgroupError> {
        let Some(runtime) = cpu.realtime_runtime.and_then(|time| u64::try_from(time).ok()) else {
            return Ok(());
        };
        let own = self.controller("cpu", "real-time CPU time")?;
        // In millionths of a processor.
        let part = |runtime: u64, period: u64| (runtime.saturating_mul(1_000_000)).div_ceil(period.max(1));
        let of = |group: &Path| -> Result<(u64, u64), CgroupError> {
            Ok((number(&group.join("cpu.rt_runtime_us"))?, number(&group.join("cpu.rt_period_us"))?))
        };
        let mut wanted =
            part(runtime, cpu.realtime_period.map_or_else(|| of(own).map(|(_, period)| period), Ok)?);
        let mut group = own;
        let mut raises = Vec::new();
        while let Some(above) = group.parent().filter(|above| !self.mounts.contains(*above)) {
            for beside in subdirectories(above)?.iter().filter(|beside| *beside != group) {
                let (runtime, period) = of(beside)?;
                wanted = wanted.saturating_add(part(runtime, period));
            }
            let (has, period) = of(above)?;
            if part(has, period) < wanted {
                let needed = wanted.saturating_mul(period).div_ceil(1_000_000);
                raises.push((above.join("cpu.rt_runtime_us"), needed));
            }
            group = above;
        }
        // From the top.
        raises.iter().rev().try_for_each(|(path, needed)| write(path, &needed.to_string()))
    }

    /// Asks for a frozen group and says whether it is already.
    pub(super) fn freeze(&self) -> Result<bool, CgroupError> {
        let path = self.controller("freezer", "pausing")?.join("freezer.state");
        // Written again at each try: it catches processes that were born meanwhile.
        write(&path, "FROZEN")?;
        Ok(read(&path)?.trim() == "FROZEN")
    }

    pub(super) fn thaw(&self) -> Result<(), CgroupError> {
        match self.existing("freezer") {
            Some(directory) => write(&directory.join("freezer.state"), "THAWED"),
            None => Ok(()),
        }
    }

    pub(super) fn oom_kills(&self) -> Result<u64, CgroupError> {
        let Some(directory) = self.existing("memory") else { return Ok(0) };
        let mut kills = 0;
        // Version 1 counts each group by itself.
        for group in tree(directory)? {
            kills +=
                read_optional(&group.join("memory.oom_control"))?.map_or(0, |text| keyed(&text, "oom_kill"));
        }
        Ok(kills)
    }

    pub(super) fn watch_oom(&self) -> Result<Option<OomWatch>, CgroupError> {
        self.existing("memory").map(OomWatch::v1).transpose()
    }

    pub(super) fn usage(&self) -> Result<Usage, CgroupError> {
        let of = |controller, file| {
            self.existing(controller).map_or(Ok(0), |directory| number(&directory.join(file)))
        };
        let text = |controller, file| -> Result<String, CgroupError> {
            let Some(directory) = self.existing(controller) else { return Ok(String::new()) };
            Ok(read_optional(&directory.join(file))?.unwrap_or_default())
        };
        let (memory, time) = (text("memory", "memory.stat")?, text("cpuacct", "cpuacct.stat")?);
        let (throttling, disks) =
            (text("cpu", "cpu.stat")?, text("blkio", "blkio.throttle.io_service_bytes_recursive")?);
        let ticks = |key| keyed(&time, key).saturating_mul(TICK_NANOS);
        Ok(Usage {
            memory: of("memory", "memory.usage_in_bytes")?,
            memory_limit: of("memory", "memory.limit_in_bytes")?,
            inactive_file: keyed(&memory, "total_inactive_file"),
            cpu_nanos: of("cpuacct", "cpuacct.usage")?,
            cpu_user_nanos: ticks("user"),
            cpu_kernel_nanos: ticks("system"),
            periods: keyed(&throttling, "nr_periods"),
            throttled_periods: keyed(&throttling, "nr_throttled"),
            throttled_nanos: keyed(&throttling, "throttled_time"),
            pids: of("pids", "pids.current")?,
            pids_limit: of("pids", "pids.max")?,
            read_bytes: of_disks(&disks, "Read"),
            written_bytes: of_disks(&disks, "Write"),
            interfaces: Vec::new(),
        })
    }
}

/// The sum over all disks in a file of lines `major:minor operation bytes`.
fn of_disks(text: &str, operation: &str) -> u64 {
    let bytes = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        (fields.next()? == operation).then(|| fields.next()?.parse::<u64>().ok()).flatten()
    };
    text.lines().filter_map(bytes).sum()
}

fn memory(directory: &Path, limits: &Memory, settings: &mut Vec<Setting>) -> Result<(), CgroupError> {
    let plain = |file: &str, value: String| Setting::new(directory.join(file), value);
    let swap_file = directory.join("memory.memsw.limit_in_bytes");
    let memory = limits.limit.map(|bytes| {
        let setting = plain("memory.limit_in_bytes", bytes.to_string());
        setting.refused_when_busy(bytes, directory.join("memory.usage_in_bytes"))
    });
    // Without swap accounting there is no such file: no limit is what there is then.
    let swap = limits.swap.filter(|bytes| *bytes >= 0 || swap_file.exists());
    let swap = swap.map(|bytes| Setting::new(swap_file.clone(), bytes.to_string()));
    // Memory may never be above memory plus swap: raising goes the other way round than lowering.
    let raises = match (&memory, limits.swap) {
        (Some(_), Some(swap)) => u64::try_from(swap).is_err() || number(&swap_file)? < swap.unsigned_abs(),
        _ => false,
    };
    let (first, second) = if raises { (swap, memory) } else { (memory, swap) };
    settings.extend(first.into_iter().chain(second));
    for (file, value) in
        [("memory.soft_limit_in_bytes", limits.reservation), ("memory.swappiness", limits.swappiness)]
    {
        settings.extend(value.map(|value| plain(file, value.to_string())));
    }
    if let Some(disabled) = limits.disable_oom_killer {
        settings.push(plain("memory.oom_control", u8::from(disabled).to_string()).once());
    }
    Ok(())
}

fn disks(directory: &Path, limits: &BlockIo, settings: &mut Vec<Setting>) {
    // The scheduler's own name is in front of it where that is BFQ.
    let weight_file = |name: &str| {
        let own = directory.join(format!("blkio.bfq.{name}"));
        if own.exists() { own } else { directory.join(format!("blkio.{name}")) }
    };
    settings.extend(limits.weight.map(|weight| Setting::new(weight_file("weight"), weight.to_string())));
    for DiskWeight { major, minor, weight } in &limits.weight_device {
        settings.push(Setting::new(weight_file("weight_device"), format!("{major}:{minor} {weight}")).once());
    }
    for (file, rates) in [
        ("blkio.throttle.read_bps_device", &limits.throttle_read_bps_device),
        ("blkio.throttle.write_bps_device", &limits.throttle_write_bps_device),
        ("blkio.throttle.read_iops_device", &limits.throttle_read_iops_device),
        ("blkio.throttle.write_iops_device", &limits.throttle_write_iops_device),
    ] {
        for DiskRate { major, minor, rate } in rates {
            settings.push(Setting::new(directory.join(file), format!("{major}:{minor} {rate}")).once());
        }
    }
}
