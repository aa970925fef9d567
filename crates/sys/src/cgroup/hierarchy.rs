//! Which version of control groups the host has, and where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{CgroupError, read};

/// Version 1's controllers that Docker's containers use. Named hierarchies (`name=systemd`) are not ours.
const CONTROLLERS: [&str; 13] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "pids",
    "freezer",
    "devices",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
];

/// The host's control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 1: each controller's mount point.
    V1(BTreeMap<String, PathBuf>),
    /// Version 2: the one mount point.
    V2(PathBuf),
}

impl Hierarchy {
    /// Looks at this process's mounts.
    pub fn detect() -> Result<Self, CgroupError> {
        Self::from_mountinfo(&read(Path::new("/proc/self/mountinfo"))?).ok_or(CgroupError::NotMounted)
    }

    fn from_mountinfo(text: &str) -> Option<Self> {
        let mut controllers = BTreeMap::new();
        let mut unified = None;
        for line in text.lines() {
            // `id parent major:minor root mount-point options … - type source super-options`
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(mount_point) = left.split(' ').nth(4) else { continue };
            let mut right = right.split(' ');
            let (kind, options) = (right.next(), right.nth(1));
            match kind {
                Some("cgroup") => {
                    for option in options.unwrap_or_default().split(',').filter(|o| CONTROLLERS.contains(o)) {
                        controllers.entry(option.to_owned()).or_insert_with(|| PathBuf::from(mount_point));
                    }
                }
                Some("cgroup2") if unified.is_none() => unified = Some(PathBuf::from(mount_point)),
                _ => {}
            }
        }
        if controllers.is_empty() { unified.map(Self::V2) } else { Some(Self::V1(controllers)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_host_is_version_1() {
        let text = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
                    31 30 0:27 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 cgroup2 rw\n\
                    32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                    34 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let Some(Hierarchy::V1(mounts)) = Hierarchy::from_mountinfo(text) else { panic!("not version 1") };
        let names: Vec<_> = mounts.keys().map(String::as_str).collect();
        assert_eq!(names, ["cpu", "cpuacct", "memory"]);
        assert_eq!(mounts["cpuacct"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    }

    #[test]
    fn a_systemd_host_of_today_is_version_2() {
        let text = "25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(Hierarchy::from_mountinfo(text), Some(Hierarchy::V2("/sys/fs/cgroup".into())));
        assert_eq!(Hierarchy::from_mountinfo("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"), None);
    }
}
