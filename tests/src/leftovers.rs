//! What a daemon left on the host.

use std::fs;
use std::path::Path;

/// Names everything on the host that carries this instance's name or lives in its directory and is more than a
/// plain file: mounts, processes, network interfaces, firewall tables, cgroups, user records.
#[must_use]
pub fn leftovers(instance: &str, dir: &Path) -> Vec<String> {
    let dir = dir.to_string_lossy().into_owned();
    let mut left = Vec::new();
    for line in fs::read_to_string("/proc/mounts").unwrap_or_default().lines() {
        let point = line.split(' ').nth(1).unwrap_or_default();
        if point.starts_with(&format!("{dir}/exec")) || point.starts_with(&format!("{dir}/data")) {
            left.push(format!("mount {point}"));
        }
    }
    left.extend(processes(instance, &dir));
    for interface in names("/sys/class/net") {
        if interface.contains(instance) {
            left.push(format!("interface {interface}"));
        }
    }
    let tables = std::process::Command::new("nft").args(["list", "tables"]).output();
    let tables =
        tables.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    for table in tables.lines().filter(|line| line.contains(&format!("cofferdam_{instance}"))) {
        left.push(format!("firewall {table}"));
    }
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = names(root).into_iter().map(|name| root.join(name)).chain([root.to_owned()]);
    for hierarchy in hierarchies {
        let group = hierarchy.join(format!("cofferdam-{instance}"));
        if group.exists() {
            left.push(format!("cgroup {}", group.display()));
        }
    }
    let bundles = Path::new(&dir).join("exec/containers");
    left.extend(names(&bundles).into_iter().map(|id| format!("bundle {id}")));
    let layers = Path::new(&dir).join("data/containers");
    left.extend(names(&layers).into_iter().map(|id| format!("container directory {id}")));
    left
}

/// Processes of this instance: a shim or helper works in the exec root, a VM worker has the container's name.
fn processes(instance: &str, dir: &str) -> Vec<String> {
    let mut left = Vec::new();
    for pid in names("/proc").into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&bytes).replace('\0', " ");
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let ours = command.contains(&format!("{dir}/exec"))
            || command.contains(&format!("{dir}/data"))
            || cwd.starts_with(format!("{dir}/exec"))
            || groups.contains(&format!("/cofferdam-{instance}"));
        if ours {
            left.push(format!("process {pid} ({})", command.trim()));
        }
    }
    left
}

fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
