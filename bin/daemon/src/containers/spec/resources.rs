//! Limits: cgroup resources and rlimits.

use cofferdam_model::Resources;
use cofferdam_model::resources::{BlockIo, Cpu, Memory, Pids};
use serde_json::{Value, json};

use crate::containers::config::{HostConfig, Ulimit};

/// Billionths of a CPU in a microsecond of a period.
const NANOS: i64 = 10_000;
/// The kernel's shortest quota in microseconds.
const SHORTEST: i64 = 1000;

/// A container's limits but those of single disks. `swap` says whether the host can limit swap.
#[must_use]
pub fn resources(host: &HostConfig, swap: bool) -> Resources {
    let amount = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
    let memory = amount(host.memory);
    let mut cpu = Cpu {
        shares: amount(host.cpu_shares),
        quota: Some(host.cpu_quota).filter(|quota| *quota != 0),
        period: amount(host.cpu_period),
        realtime_runtime: Some(host.cpu_realtime_runtime).filter(|time| *time != 0),
        realtime_period: amount(host.cpu_realtime_period),
        cpus: text(&host.cpuset_cpus),
        mems: text(&host.cpuset_mems),
    };
    if host.nano_cpus > 0 {
        cpu.period = Some(Cpu::PERIOD);
        cpu.quota = Some((host.nano_cpus / NANOS).max(SHORTEST));
    }
    Resources {
        memory: Memory {
            limit: memory,
            swap: memory.filter(|_| swap).map(|_| match host.memory_swap {
                // Docker's default: as much swap as memory.
                0 => host.memory.saturating_mul(2),
                total => total,
            }),
            reservation: amount(host.memory_reservation),
            swappiness: host.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
            disable_oom_killer: host.oom_kill_disable.filter(|disable| *disable),
        },
        cpu,
        pids: Pids { limit: host.pids_limit.filter(|limit| *limit != 0) },
        block_io: BlockIo {
            weight: Some(host.blkio_weight).filter(|weight| *weight > 0),
            ..BlockIo::default()
        },
    }
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
            json!(resources(&host, true)),
            json!({"memory": {"limit": 67_108_864, "swap": 134_217_728}, "pids": {"limit": 50},
                   "cpu": {"shares": 512, "period": 100_000, "quota": 150_000}})
        );
        assert_eq!(resources(&HostConfig::default(), true), Resources::default());
        assert!(!json!(resources(&host, false)).to_string().contains("swap"));
        let tiny = HostConfig { nano_cpus: 1_000_000, ..HostConfig::default() };
        assert_eq!(resources(&tiny, true).cpu.quota, Some(1000));
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
