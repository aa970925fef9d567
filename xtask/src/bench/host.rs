//! What the figures were measured on.

use std::fs;

use serde::Serialize;

/// Facts that explain figures, and none that names the machine.
#[derive(Debug, Serialize)]
pub struct Facts {
    /// The processor's own name.
    pub cpu: String,
    /// How many of them.
    pub cores: usize,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// Version 1 or 2.
    pub control_groups: u8,
    /// Whether utility VMs run on KVM.
    pub kvm_usable: bool,
    /// What `cofferdam doctor` finds about it.
    pub kvm: String,
    /// What runs utility VMs.
    pub qemu: String,
    /// The release of their kernel.
    pub guest_kernel: String,
    /// The load average of the last minute, before anything was measured.
    pub load: String,
}

impl Facts {
    /// Looks around. `doctor` is the output of `cofferdam doctor`.
    pub fn find(doctor: &str) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        Self {
            cpu: after(&read("/proc/cpuinfo"), "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: after(&read("/proc/meminfo"), "MemTotal")
                .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
                .unwrap_or_default()
                / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: read("/etc/os-release")
                .lines()
                .find_map(|line| line.strip_prefix("PRETTY_NAME="))
                .unwrap_or("unknown")
                .trim_matches('"')
                .to_owned(),
            control_groups: if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false) {
                2
            } else {
                1
            },
            kvm_usable: finding(doctor, "kvm").0 == "OK",
            kvm: finding(doctor, "kvm").1,
            qemu: finding(doctor, "qemu").1,
            // With the directory that it is in.
            guest_kernel: finding(doctor, "guest kernel").1.split(' ').next().unwrap_or_default().to_owned(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// The value in a file of lines `key : value`.
fn after(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Status and finding of a check of `cofferdam doctor`.
pub fn finding(doctor: &str, check: &str) -> (String, String) {
    let rest = doctor.lines().find_map(|line| line.strip_prefix(check)?.strip_prefix(' '));
    let (status, finding) = rest.unwrap_or("").trim().split_once(' ').unwrap_or(("", "unknown"));
    (status.to_owned(), finding.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{after, finding};

    #[test]
    fn facts_are_found() {
        assert_eq!(after("a\t: 1\nmodel name\t: X 2\n", "model name").unwrap(), "X 2");
        let doctor = "CHECK   STATUS  FINDING
kvm     WARN    it is slow
guest kernel  OK   6.1 /x
";
        assert_eq!(finding(doctor, "kvm"), ("WARN".to_owned(), "it is slow".to_owned()));
        assert_eq!(finding(doctor, "guest kernel"), ("OK".to_owned(), "6.1 /x".to_owned()));
        assert_eq!(finding(doctor, "qemu").1, "unknown");
    }
}
