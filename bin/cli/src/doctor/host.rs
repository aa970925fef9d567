//! What every container needs of the host.

use std::fs;
use std::process::Command;

use rustix::process::{Resource, geteuid, getrlimit};

use super::check::Check;
use crate::programs;

/// All of them.
pub fn checks() -> Vec<Check> {
    vec![
        root(),
        kernel(&rustix::system::uname().release().to_string_lossy()),
        cgroups(),
        overlay(),
        seccomp(),
        nftables(),
        forwarding(),
        firewall(),
        rights(),
    ]
}

fn root() -> Check {
    match geteuid().is_root() {
        true => Check::ok("root", "running as root"),
        false => Check::warn(
            "root",
            "not running as root: the daemon needs it",
            "repeat with sudo, some checks see more then",
        ),
    }
}

/// Overlayfs on overlayfs-unfriendly kernels, `clone3`, time namespaces, `close_range`: all there since 5.10.
fn kernel(release: &str) -> Check {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version >= (5, 10) {
        true => Check::ok("kernel", format!("Linux {release}")),
        false => Check::fail("kernel", format!("Linux {release} is too old"), "use Linux 5.10 or newer"),
    }
}

fn cgroups() -> Check {
    const NEEDED: [&str; 5] = ["cpu", "memory", "pids", "devices", "freezer"];
    if let Ok(controllers) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        let has = |name: &str| controllers.split_whitespace().any(|controller| controller == name);
        let missing: Vec<&str> = ["cpu", "memory", "pids"].into_iter().filter(|name| !has(name)).collect();
        return match missing.is_empty() {
            true => Check::ok("cgroups", "version 2, with all controllers"),
            false => Check::warn(
                "cgroups",
                format!("version 2, without {}", missing.join(", ")),
                "these limits cannot be set; enable the controllers in the parent cgroup's cgroup.subtree_control",
            ),
        };
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let found = v1_controllers(&mounts);
    let missing: Vec<&str> =
        NEEDED.into_iter().filter(|name| !found.iter().any(|found| found == name)).collect();
    match (found.is_empty(), missing.is_empty()) {
        (true, _) => {
            Check::fail("cgroups", "no cgroup hierarchy is mounted", "mount cgroup2 on /sys/fs/cgroup")
        }
        (false, true) => Check::ok("cgroups", "version 1, with all controllers"),
        (false, false) => Check::warn(
            "cgroups",
            format!("version 1, without {}", missing.join(", ")),
            "these limits cannot be set; mount the controllers under /sys/fs/cgroup",
        ),
    }
}

/// The controllers of all mounted version 1 hierarchies (proc(5), mountinfo).
fn v1_controllers(mountinfo: &str) -> Vec<String> {
    let hierarchies = mountinfo.lines().filter_map(|line| {
        let (_, file_system) = line.split_once(" - ")?;
        let mut fields = file_system.split(' ');
        (fields.next()? == "cgroup").then_some(())?;
        fields.nth(1)
    });
    hierarchies.flat_map(|options| options.split(',')).map(str::to_owned).collect()
}

fn overlay() -> Check {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = fs::read_to_string(format!("/lib/modules/{release}/modules.dep")).unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
        Check::ok("overlayfs", "the kernel has it")
    } else if modules.contains("/overlay.ko") {
        Check::ok("overlayfs", "a module, which the kernel loads with the first container")
    } else {
        Check::fail("overlayfs", "the kernel does not have it", "use a kernel with CONFIG_OVERLAY_FS")
    }
}

fn seccomp() -> Check {
    match fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail") {
        Ok(_) => Check::ok("seccomp", "system calls can be filtered"),
        Err(_) => Check::fail(
            "seccomp",
            "the kernel cannot filter system calls",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
    }
}

fn nftables() -> Check {
    let Some(nft) = programs::find("nft") else {
        return Check::warn(
            "nftables",
            "nft was not found: containers have no way out",
            "install the package nftables",
        );
    };
    match Command::new(nft).args(["list", "tables"]).output() {
        Ok(answer) if answer.status.success() => Check::ok("nftables", "rules can be listed"),
        Ok(answer) => Check::warn(
            "nftables",
            format!("nft: {}", String::from_utf8_lossy(&answer.stderr).trim()),
            "run as root, on a kernel with nf_tables; containers have no way out without it",
        ),
        Err(error) => Check::warn(
            "nftables",
            format!("nft cannot be run: {error}"),
            "install the package nftables again",
        ),
    }
}

fn forwarding() -> Check {
    match fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default().trim() {
        "1" => Check::ok("forwarding", "IPv4 packets are forwarded"),
        _ => Check::warn(
            "forwarding",
            "IPv4 packets are not forwarded: containers have no way out",
            "the daemon turns it on with its bridge; to keep it on: sysctl -w net.ipv4.ip_forward=1",
        ),
    }
}

/// A packet that one table lets pass another may still drop, and ours cannot overrule it.
fn firewall() -> Check {
    let chains =
        programs::find("nft").and_then(|nft| Command::new(nft).args(["-j", "list", "chains"]).output().ok());
    let Some(chains) = chains.filter(|answer| answer.status.success()) else {
        return Check::warn(
            "firewall",
            "nft did not list the chains: whether one drops what is forwarded is not known",
            "run as root, with the package nftables",
        );
    };
    let dropping = dropping_chains(&String::from_utf8_lossy(&chains.stdout));
    match dropping.first() {
        None => Check::ok("firewall", "none drops forwarded packets by default"),
        Some(first) => Check::warn(
            "firewall",
            format!("drops forwarded packets by default: {}", dropping.join(", ")),
            format!(
                "let containers pass, say: nft insert rule {first} iifname \"c*-*\" accept; nft insert rule {first} \
                 oifname \"c*-*\" accept (the bridges of networks are cfd-<instance> and cn<instance>-…)"
            ),
        ),
    }
}

/// `family table chain` of the base chains that drop what is forwarded unless a rule lets it pass (nft's JSON,
/// libnftables-json(5)).
fn dropping_chains(listed: &str) -> Vec<String> {
    let listed: serde_json::Value = serde_json::from_str(listed).unwrap_or_default();
    let entries = listed["nftables"].as_array().into_iter().flatten().map(|entry| &entry["chain"]);
    entries
        .filter(|chain| chain["hook"] == "forward" && chain["policy"] == "drop")
        .map(|chain| {
            let text = |key: &str| chain[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("family"), text("table"), text("name"))
        })
        .collect()
}

fn rights() -> Check {
    const SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or_default();
    let bounding = u64::from_str_radix(bounding.trim(), 16).unwrap_or(0);
    let open_files = getrlimit(Resource::Nofile).maximum;
    let files = open_files.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    if bounding & (1 << SYS_RESOURCE) == 0 {
        return Check::warn(
            "rights",
            format!("CAP_SYS_RESOURCE is not available, at most {files} open files"),
            "--ulimit cannot go above this host's own limits",
        );
    }
    Check::ok("rights", format!("CAP_SYS_RESOURCE is available, at most {files} open files"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    #[test]
    fn a_firewall_that_drops_is_named() {
        let chain = |name: &str, hook: &str, policy: &str| {
            serde_json::json!({ "chain": {
                "family": "ip", "table": "filter", "name": name, "hook": hook, "policy": policy,
            } })
        };
        let listed = serde_json::json!({ "nftables": [
            { "metainfo": { "version": "1.0" } }, chain("FORWARD", "forward", "drop"),
            chain("INPUT", "input", "drop"), chain("ours", "forward", "accept"),
        ] });
        assert_eq!(dropping_chains(&listed.to_string()), ["ip filter FORWARD"]);
        assert!(dropping_chains("").is_empty());
    }

    #[test]
    fn old_kernels_fail() {
        assert_eq!(kernel("6.1.0-18-amd64").status, Status::Ok);
        assert_eq!(kernel("5.10.0").status, Status::Ok);
        assert_eq!(kernel("5.9.16").status, Status::Fail);
        assert_eq!(kernel("garbage").status, Status::Fail);
    }

    #[test]
    fn v1_hierarchies_are_read() {
        let mountinfo = "30 29 0:25 / /sys/fs/cgroup/cpu rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                         31 29 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                         32 29 0:27 / / rw - ext4 /dev/sda rw,cpu\n";
        assert_eq!(v1_controllers(mountinfo), ["rw", "cpu", "cpuacct"]);
    }
}
