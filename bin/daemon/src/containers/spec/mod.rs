//! The OCI runtime specification of a container, made by a pure function from its record and facts about the host,
//! so that it can be tested as data. The same specification serves both levels; the runtime of the hyperv level
//! rewrites paths for its guest.

pub mod capabilities;
pub mod devices;
pub mod mounts;
pub mod process;
pub mod resources;
pub mod seccomp;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use cofferdam_model::resources::BlockIo;
use cofferdam_model::{Isolation, Resources};
use cofferdam_sys::cgroup::Offers;
use serde_json::{Map, Value, json};

use capabilities::{Bounding, UnknownCapability};
use devices::{DeviceNode, InvalidRule};
use resources::HardLimits;

use super::record::Record;
use cofferdam_model::user::User;

/// Where the init process is mounted with `--init`.
pub const INIT: &str = "/sbin/docker-init";

/// Everything a specification is made of.
pub struct Input<'a> {
    /// What was asked for.
    pub record: &'a Record,
    /// Who runs it.
    pub user: &'a User,
    /// The container's own directory.
    pub data: &'a Path,
    /// The engine's files for `/etc`.
    pub etc: &'a EtcFiles,
    /// The init program on the host, when one was asked for.
    pub init: Option<&'a Path>,
    /// Where the shim has parts of volumes, by their places in the container.
    pub parts: &'a BTreeMap<String, String>,
    /// Device nodes to make beside the default ones.
    pub devices: &'a [DeviceNode],
    /// The cgroup.
    pub cgroup: &'a str,
    /// Limits of disks, with their numbers.
    pub disks: BlockIo,
    /// What the host can give.
    pub host: &'a HostFacts,
}

/// The engine's files for `/etc`.
#[derive(Clone, Debug)]
pub struct EtcFiles {
    /// `/etc/hostname`
    pub hostname: std::path::PathBuf,
    /// `/etc/hosts`
    pub hosts: std::path::PathBuf,
    /// `/etc/resolv.conf`
    pub resolv_conf: std::path::PathBuf,
}

/// What the kernel below the container can give: the host's, or a guest's of our own, which holds nothing back.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Capabilities.
    pub bounding: Bounding,
    /// Hard rlimits.
    pub hard: HardLimits,
    /// What control groups can limit.
    pub offers: Offers,
    /// The lowest OOM score that can be given.
    pub least_oom_score: i64,
    /// Mounted cgroup v1 hierarchies: the runtime mounts each of them writable.
    pub cgroup_hierarchies: Vec<String>,
}

/// The kernel's.
const LEAST_OOM_SCORE: i64 = -1000;

impl HostFacts {
    /// This host's, for the process level. They do not change while the daemon runs.
    #[must_use]
    pub fn of_this_host() -> &'static Self {
        static FACTS: OnceLock<HostFacts> = OnceLock::new();
        FACTS.get_or_init(Self::find_out)
    }

    fn find_out() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let bounding = Bounding::from_status(&read("/proc/self/status"));
        // Who may raise limits is not bound by its own.
        let may_raise = capabilities::effective(&[], &[], true, bounding)
            .is_ok_and(|names| names.contains(&"CAP_SYS_RESOURCE"));
        let hard = if may_raise {
            HardLimits::default()
        } else {
            HardLimits::from_limits(&read("/proc/self/limits"))
        };
        let own_score = read("/proc/self/oom_score_adj").trim().parse().unwrap_or(0);
        let least_oom_score = if may_raise { LEAST_OOM_SCORE } else { own_score };
        let mounts = read("/proc/self/mounts");
        let v1 = |line: &str| {
            let mut fields = line.split(' ').skip(1);
            let (place, kind) = (fields.next()?, fields.next()?);
            (kind == "cgroup" && place.starts_with("/sys/fs/cgroup/")).then(|| place.to_owned())
        };
        let offers = Offers::of_this_host();
        let cgroup_hierarchies = mounts.lines().filter_map(v1).collect();
        Self { bounding, hard, offers, least_oom_score, cgroup_hierarchies }
    }

    /// A guest's, whose limits this host has to hold as well.
    #[must_use]
    pub fn of_a_guest() -> &'static Self {
        static FACTS: OnceLock<HostFacts> = OnceLock::new();
        FACTS.get_or_init(|| Self {
            bounding: Bounding::FULL,
            hard: HardLimits::NONE,
            offers: Offers {
                memory: true,
                reservation: true,
                pids: true,
                // The hypervisor's doing.
                disk_rate: true,
                swap: false,
                oom_kill_disable: false,
                cpu_realtime: false,
                ..Self::of_this_host().offers.clone()
            },
            // The VM worker process's, too.
            least_oom_score: Self::of_this_host().least_oom_score,
            cgroup_hierarchies: Vec::new(),
        })
    }

    /// The kernel below a container of this level.
    #[must_use]
    pub fn below(isolation: Isolation) -> &'static Self {
        match isolation {
            Isolation::Process => Self::of_this_host(),
            Isolation::Hyperv => Self::of_a_guest(),
        }
    }
}

/// A specification cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSpec {
    /// A capability's name.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    /// A device rule.
    #[error(transparent)]
    Device(#[from] InvalidRule),
    /// `--security-opt`.
    #[error(transparent)]
    Security(#[from] process::InvalidSecurity),
}

/// Paths that a container cannot see: they tell about or act on the host's hardware and kernel.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that a container cannot write.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The masked paths of a container without its own list.
#[must_use]
pub fn masked_paths() -> Vec<String> {
    MASKED.iter().map(|&path| path.to_owned()).collect()
}

/// The read-only paths of a container without its own list.
#[must_use]
pub fn readonly_paths() -> Vec<String> {
    READ_ONLY.iter().map(|&path| path.to_owned()).collect()
}

/// The specification.
pub fn build(input: &Input<'_>) -> Result<Value, InvalidSpec> {
    let (record, host) = (input.record, &input.record.host);
    let capabilities = process::capabilities(host, input.host.bounding)?;
    let security = process::Security::parse(host)?;

    let limits =
        Resources { block_io: input.disks.clone(), ..resources::resources(host, input.host.offers.swap) };
    let mut resources = json!(limits);
    let rules = host.device_cgroup_rules.as_deref().unwrap_or_default();
    resources["devices"] = devices::rules(input.devices, rules, host.privileged)?;

    let mut linux = Map::new();
    linux.insert("cgroupsPath".to_owned(), json!(input.cgroup));
    linux.insert("namespaces".to_owned(), namespaces(record));
    linux.insert("resources".to_owned(), resources);
    linux.insert("devices".to_owned(), devices::nodes(input.devices));
    linux.insert("rootfsPropagation".to_owned(), json!(root_propagation(record)));
    if !host.privileged {
        linux.insert("maskedPaths".to_owned(), json!(host.masked_paths.clone().unwrap_or_else(masked_paths)));
        let mut read_only = host.readonly_paths.clone().unwrap_or_else(readonly_paths);
        if !input.host.cgroup_hierarchies.is_empty() {
            // A container that could write there would lift its own limits.
            read_only.push("/sys/fs/cgroup".to_owned());
            read_only.extend(input.host.cgroup_hierarchies.iter().cloned());
        }
        linux.insert("readonlyPaths".to_owned(), json!(read_only));
    }
    if let Some(profile) = security.seccomp(host.privileged, &capabilities)? {
        linux.insert("seccomp".to_owned(), profile);
    }
    let sysctls = sysctls(record);
    if !sysctls.is_empty() {
        linux.insert("sysctl".to_owned(), Value::Object(sysctls));
    }

    let mut spec = json!({
        "ociVersion": "1.2.0",
        "process": process::init(input, &capabilities, &security),
        "root": {"path": cofferdam_model::bundle::ROOTFS, "readonly": host.readonly_rootfs},
        "mounts": mounts::mounts(input),
        "linux": linux,
        "annotations": host.annotations,
    });
    if host.uts_mode != "host" {
        spec["hostname"] = json!(record.config.hostname);
        if !record.config.domainname.is_empty() {
            spec["domainname"] = json!(record.config.domainname);
        }
    }
    Ok(spec)
}

/// New namespaces. The shim is in the container's network namespace already.
fn namespaces(record: &Record) -> Value {
    let host = &record.host;
    let own = [
        ("mount", true),
        ("uts", host.uts_mode != "host"),
        ("pid", host.pid_mode != "host"),
        ("ipc", host.ipc_mode != "host"),
        ("cgroup", host.cgroupns_mode != "host"),
    ];
    own.into_iter().filter(|(_, own)| *own).map(|(kind, _)| json!({"type": kind})).collect()
}

/// Binds that share or receive mounts need a root that does.
fn root_propagation(record: &Record) -> &'static str {
    let asked =
        |word: &str| record.mounts.iter().any(|mount| mount.propagation.trim_start_matches('r') == word);
    if asked("shared") {
        "shared"
    } else if asked("slave") {
        "slave"
    } else {
        "private"
    }
}

/// Kernel parameters: the user's, and what makes ping and low ports work without capabilities, as Docker has it.
fn sysctls(record: &Record) -> Map<String, Value> {
    let mut sysctls = Map::new();
    if record.network() != "host" {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), json!("0"));
        sysctls.insert("net.ipv4.ping_group_range".to_owned(), json!("0 2147483647"));
    }
    for (key, value) in &record.host.sysctls {
        sysctls.insert(key.clone(), json!(value));
    }
    sysctls
}

#[cfg(test)]
mod tests;
