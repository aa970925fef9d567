//! Limits: cgroup resources and rlimits.

use serde_json::{Map, Value, json};

use crate::containers::config::{HostConfig, Ulimit};

/// The period that `--cpus` is counted in, microseconds.
const PERIOD: i64 = 100_000;

/// `linux.resources` without devices. `swap` says whether the host can limit swap.
#[must_use]
pub fn resources(host: &HostConfig, swap: bool) -> Map<String, Value> {
    let mut memory = Map::new();
    if host.memory > 0 {
        memory.insert("limit".to_owned(), json!(host.memory));
        if swap {
            // Docker's default: as much swap as memory.
            let total = if host.memory_swap == 0 { host.memory.saturating_mul(2) } else { host.memory_swap };
            memory.insert("swap".to_owned(), json!(total));
        }
    }
    if host.memory_reservation > 0 {
        memory.insert("reservation".to_owned(), json!(host.memory_reservation));
    }
    if let Some(swappiness) = host.memory_swappiness.filter(|value| *value >= 0) {
        memory.insert("swappiness".to_owned(), json!(swappiness));
    }
    if host.oom_kill_disable == Some(true) {
        memory.insert("disableOOMKiller".to_owned(), json!(true));
    }

    let mut cpu = Map::new();
    if host.cpu_shares > 0 {
        cpu.insert("shares".to_owned(), json!(host.cpu_shares));
    }
    if host.nano_cpus > 0 {
        cpu.insert("period".to_owned(), json!(PERIOD));
        cpu.insert("quota".to_owned(), json!(host.nano_cpus / (1_000_000_000 / PERIOD)));
    } else {
        if host.cpu_period > 0 {
            cpu.insert("period".to_owned(), json!(host.cpu_period));
        }
        if host.cpu_quota > 0 {
            cpu.insert("quota".to_owned(), json!(host.cpu_quota));
        }
    }
    for (key, value) in [("cpus", &host.cpuset_cpus), ("mems", &host.cpuset_mems)] {
        if !value.is_empty() {
            cpu.insert(key.to_owned(), json!(value));
        }
    }

    let mut resources = Map::new();
    if !memory.is_empty() {
        resources.insert("memory".to_owned(), Value::Object(memory));
    }
    if !cpu.is_empty() {
        resources.insert("cpu".to_owned(), Value::Object(cpu));
    }
    if let Some(limit) = host.pids_limit.filter(|limit| *limit > 0) {
        resources.insert("pids".to_owned(), json!({"limit": limit}));
    }
    if host.blkio_weight > 0 {
        resources.insert("blockIO".to_owned(), json!({"weight": host.blkio_weight}));
    }
    resources
}

/// The host's hard limits: what a process without `CAP_SYS_RESOURCE` cannot exceed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HardLimits(std::collections::BTreeMap<String, u64>);

impl HardLimits {
    /// No limits at all.
    pub const NONE: Self = Self(std::collections::BTreeMap::new());

    /// Reads `/proc/<pid>/limits`. `unlimited` is no limit.
    #[must_use]
    pub fn from_limits(text: &str) -> Self {
        const ROWS: [(&str, &str); 16] = [
            ("Max cpu time", "cpu"),
            ("Max file size", "fsize"),
            ("Max data size", "data"),
            ("Max stack size", "stack"),
            ("Max core file size", "core"),
            ("Max resident set", "rss"),
            ("Max processes", "nproc"),
            ("Max open files", "nofile"),
            ("Max locked memory", "memlock"),
            ("Max address space", "as"),
            ("Max file locks", "locks"),
            ("Max pending signals", "sigpending"),
            ("Max msgqueue size", "msgqueue"),
            ("Max nice priority", "nice"),
            ("Max realtime priority", "rtprio"),
            ("Max realtime timeout", "rttime"),
        ];
        let hard = |line: &str| line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
        let row = |(title, name): &(&str, &str)| {
            let rest = text.lines().find_map(|line| line.strip_prefix(title))?;
            Some(((*name).to_owned(), hard(rest)?))
        };
        Self(ROWS.iter().filter_map(row).collect())
    }

    /// The hard limit, where it is lower than what is wanted (`-1` is everything).
    #[must_use]
    pub fn lower_than(&self, name: &str, wanted: i64) -> Option<u64> {
        let top = self.cap(name, wanted);
        (top < u64::try_from(wanted).unwrap_or(u64::MAX)).then_some(top)
    }

    fn cap(&self, name: &str, value: i64) -> u64 {
        let value = u64::try_from(value).unwrap_or(u64::MAX);
        self.0.get(name).map_or(value, |hard| value.min(*hard))
    }
}

/// `process.rlimits`, within the host's hard limits.
#[must_use]
pub fn rlimits(ulimits: &[Ulimit], hard: &HardLimits) -> Value {
    let one = |limit: &Ulimit| {
        let top = hard.cap(&limit.name, limit.hard);
        let soft = hard.cap(&limit.name, limit.soft).min(top);
        json!({"type": format!("RLIMIT_{}", limit.name.to_ascii_uppercase()), "hard": top, "soft": soft})
    };
    ulimits.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_cgroup_resources() {
        let host = HostConfig {
            memory: 64 << 20,
            nano_cpus: 1_500_000_000,
            pids_limit: Some(50),
            cpu_shares: 512,
            ..HostConfig::default()
        };
        assert_eq!(
            Value::Object(resources(&host, true)),
            json!({"memory": {"limit": 67_108_864, "swap": 134_217_728}, "pids": {"limit": 50},
                   "cpu": {"shares": 512, "period": 100_000, "quota": 150_000}})
        );
        assert!(resources(&HostConfig { pids_limit: Some(-1), ..HostConfig::default() }, true).is_empty());
        assert!(!Value::Object(resources(&host, false)).to_string().contains("swap"));
    }

    #[test]
    fn rlimits_stay_below_the_hosts() {
        let hard = HardLimits::from_limits(
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max open files            1024                 20000                files     \n\
             Max core file size        0                    unlimited            bytes     \n",
        );
        let ulimit = |name: &str, soft, hard| Ulimit { name: name.to_owned(), soft, hard };
        assert_eq!(
            rlimits(&[ulimit("nofile", 1_048_576, 1_048_576), ulimit("core", -1, -1)], &hard),
            json!([{"type": "RLIMIT_NOFILE", "hard": 20_000, "soft": 20_000},
                   {"type": "RLIMIT_CORE", "hard": u64::MAX, "soft": u64::MAX}])
        );
    }
}
