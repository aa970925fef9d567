//! What a host's control groups can limit, found out once by the files that they have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cofferdam_model::resources::number_list;

use super::{Cgroup, Hierarchy, read_optional, subdirectories};

/// What can be limited here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Memory.
    pub memory: bool,
    /// Memory and swap together.
    pub swap: bool,
    /// What is left to a group when memory is short.
    pub reservation: bool,
    /// How readily its memory is swapped.
    pub swappiness: bool,
    /// Whether the OOM killer can be kept away.
    pub oom_kill_disable: bool,
    /// CPU time in each period.
    pub cpu_quota: bool,
    /// Relative CPU weight.
    pub cpu_shares: bool,
    /// Real-time scheduling.
    pub cpu_realtime: bool,
    /// The set of CPUs and memory nodes.
    pub cpuset: bool,
    /// The number of processes.
    pub pids: bool,
    /// Relative disk weight, of all disks and of single ones.
    pub disk_weight: bool,
    /// The rate of access to single disks.
    pub disk_rate: bool,
    /// The CPUs that there are for groups.
    pub cpus: BTreeSet<u32>,
    /// The memory nodes that there are for groups.
    pub mems: BTreeSet<u32>,
}

impl Offers {
    /// Of this host; nothing where there are no control groups.
    #[must_use]
    pub fn of_this_host() -> Self {
        Hierarchy::detect().map(|hierarchy| Self::of(&hierarchy)).unwrap_or_default()
    }

    pub(super) fn of(hierarchy: &Hierarchy) -> Self {
        match hierarchy {
            Hierarchy::V1(mounts) => {
                let has = |controller: &str, file: &str| {
                    mounts.get(controller).is_some_and(|mount| mount.join(file).exists())
                };
                let list = |file: &str| mounts.get("cpuset").map(|mount| numbers(&mount.join(file)));
                Self {
                    memory: has("memory", "memory.limit_in_bytes"),
                    swap: has("memory", "memory.memsw.limit_in_bytes"),
                    reservation: has("memory", "memory.soft_limit_in_bytes"),
                    swappiness: has("memory", "memory.swappiness"),
                    oom_kill_disable: has("memory", "memory.oom_control"),
                    cpu_quota: mounts.get("cpu").is_some_and(|mount| in_any(mount, "cpu.cfs_quota_us")),
                    cpu_shares: has("cpu", "cpu.shares"),
                    cpu_realtime: has("cpu", "cpu.rt_runtime_us"),
                    cpuset: has("cpuset", "cpuset.cpus"),
                    pids: mounts.contains_key("pids"),
                    // The root has no weight; what goes with it shows that groups have.
                    disk_weight: has("blkio", "blkio.weight") || has("blkio", "blkio.bfq.io_service_bytes"),
                    disk_rate: has("blkio", "blkio.throttle.read_bps_device"),
                    cpus: list("cpuset.cpus").unwrap_or_default(),
                    mems: list("cpuset.mems").unwrap_or_default(),
                }
            }
            Hierarchy::V2(mount) => {
                let controllers = read_optional(&mount.join("cgroup.controllers")).ok().flatten();
                let controllers = controllers.unwrap_or_default();
                let has = |controller: &str| controllers.split_whitespace().any(|name| name == controller);
                // The root lacks most files: a group tells, and there may be none yet.
                let probe =
                    Cgroup::in_hierarchy(hierarchy, &format!("/cofferdam-probe-{}", std::process::id()));
                let probe = probe.and_then(|probe| probe.create().map(|()| probe)).ok();
                let offers = Self {
                    memory: has("memory"),
                    swap: has("memory") && in_any(mount, "memory.swap.max"),
                    reservation: has("memory"),
                    cpu_quota: has("cpu"),
                    cpu_shares: has("cpu"),
                    cpuset: has("cpuset"),
                    pids: has("pids"),
                    disk_weight: has("io") && (in_any(mount, "io.weight") || in_any(mount, "io.bfq.weight")),
                    disk_rate: has("io") && in_any(mount, "io.max"),
                    cpus: numbers(&mount.join("cpuset.cpus.effective")),
                    mems: numbers(&mount.join("cpuset.mems.effective")),
                    ..Self::default()
                };
                probe.and_then(|probe| probe.delete().ok());
                offers
            }
        }
    }
}

/// Whether groups have this file, which the root may lack: any group tells.
fn in_any(mount: &Path, file: &str) -> bool {
    let below: Vec<PathBuf> = subdirectories(mount).unwrap_or_default();
    mount.join(file).exists() || below.iter().any(|group| group.join(file).exists())
}

fn numbers(path: &Path) -> BTreeSet<u32> {
    read_optional(path).ok().flatten().and_then(|text| number_list(&text)).unwrap_or_default()
}
