//! A group in the version 1 hierarchies, one for each controller.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cofferdam_model::Usage;

use super::{CgroupError, Limits, at, keyed, number, read, read_optional, tree, write};

/// The length of a CPU accounting period in microseconds, as Docker's.
const CPU_PERIOD: u64 = 100_000;
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

    pub(super) fn set_limits(&self, limits: &Limits) -> Result<(), CgroupError> {
        if limits.memory.is_some() || limits.memory_swap.is_some() {
            set_memory(self.controller("memory", "memory")?, limits)?;
        }
        if let Some(nano_cpus) = limits.nano_cpus {
            let directory = self.controller("cpu", "CPU time")?;
            write(&directory.join("cpu.cfs_period_us"), &CPU_PERIOD.to_string())?;
            let quota = nano_cpus.saturating_mul(CPU_PERIOD) / 1_000_000_000;
            // The kernel's shortest quota is a millisecond; 0 CPUs are no limit.
            let quota = if nano_cpus == 0 { "-1".to_owned() } else { quota.max(1000).to_string() };
            write(&directory.join("cpu.cfs_quota_us"), &quota)?;
        }
        if let Some(shares) = limits.cpu_shares {
            write(&self.controller("cpu", "CPU weight")?.join("cpu.shares"), &shares.to_string())?;
        }
        if let Some(pids) = limits.pids {
            let text = if pids <= 0 { "max".to_owned() } else { pids.to_string() };
            write(&self.controller("pids", "the number of processes")?.join("pids.max"), &text)?;
        }
        Ok(())
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

fn set_memory(directory: &Path, limits: &Limits) -> Result<(), CgroupError> {
    let memory = limits.memory.map(|bytes| (directory.join("memory.limit_in_bytes"), bytes.to_string()));
    let swap =
        limits.memory_swap.map(|bytes| (directory.join("memory.memsw.limit_in_bytes"), bytes.to_string()));
    // Without swap accounting the second file is missing.
    let swap = swap.filter(|(path, _)| path.exists());
    match (memory, swap) {
        (Some(memory), Some(swap)) => {
            // Memory may never be above memory plus swap: raising goes the other way round than lowering.
            if write(&memory.0, &memory.1).is_ok() {
                write(&swap.0, &swap.1)
            } else {
                write(&swap.0, &swap.1)?;
                write(&memory.0, &memory.1)
            }
        }
        (Some((path, text)), None) | (None, Some((path, text))) => write(&path, &text),
        (None, None) => Ok(()),
    }
}
