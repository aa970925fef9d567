//! Limits as asked for: Docker's ranges and words, and a warning where this host cannot hold what was asked.

use cofferdam_api::RLIMITS;
use cofferdam_model::Isolation;

use super::config::HostConfig;
use super::spec::HostFacts;

/// Docker's smallest memory limit.
const LEAST_MEMORY: i64 = 6 << 20;
/// The scheduler's periods in microseconds (kernel: sched-bwc).
const PERIODS: std::ops::RangeInclusive<i64> = 1000..=1_000_000;
/// Docker's fields for single disks, which nothing here enforces yet.
const OF_DISKS: [&str; 5] = [
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
];

/// Checks all of them, and fills in what follows from others.
pub fn check(host: &mut HostConfig, isolation: Isolation, warnings: &mut Vec<String>) -> Result<(), String> {
    memory(host, isolation, warnings)?;
    processor(host)?;
    disks(host)?;
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    ulimits(host, HostFacts::below(isolation), warnings)
}

fn memory(host: &mut HostConfig, isolation: Isolation, warnings: &mut Vec<String>) -> Result<(), String> {
    let refused = |words: &str| Err(words.to_owned());
    if host.memory != 0 && host.memory < LEAST_MEMORY {
        return refused("Minimum memory limit allowed is 6MB");
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return refused("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory == 0 && host.memory_swap > 0 {
        return refused("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if host.memory_reservation > 0 && host.memory > 0 && host.memory < host.memory_reservation {
        return refused("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if let Some(value) = host.memory_swappiness.filter(|value| !(-1..=100).contains(value)) {
        return Err(format!("Invalid value: {value}, valid memory swappiness range is 0-100"));
    }
    if isolation == Isolation::Hyperv && host.memory > 0 && host.memory_swap > host.memory {
        warnings.push("A utility VM has no swap: the container's memory is limited without it.".to_owned());
    }
    if isolation == Isolation::Process && host.memory > 0 && !HostFacts::below(isolation).swap {
        warnings.push(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited \
             without swap."
                .to_owned(),
        );
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    Ok(())
}

fn processor(host: &HostConfig) -> Result<(), String> {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if host.nano_cpus < 0 || host.nano_cpus > most {
        return Err(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if host.nano_cpus > 0 && (host.cpu_period > 0 || host.cpu_quota > 0) {
        return Err("Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned());
    }
    if host.cpu_shares < 0 {
        return Err(format!("invalid CPU shares ({}): value must be a positive integer", host.cpu_shares));
    }
    if host.cpu_period != 0 && !PERIODS.contains(&host.cpu_period) {
        return Err(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".to_owned()
        );
    }
    // -1 is the kernel's word for none.
    if !(host.cpu_quota == 0 || host.cpu_quota == -1 || host.cpu_quota >= *PERIODS.start()) {
        return Err("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    Ok(())
}

fn disks(host: &HostConfig) -> Result<(), String> {
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return Err("Range of blkio weight is from 10 to 1000".to_owned());
    }
    let asked = |key: &&&str| {
        host.others.get(**key).and_then(|list| list.as_array()).is_some_and(|list| !list.is_empty())
    };
    match OF_DISKS.iter().find(asked) {
        Some(key) => Err(format!("{key}: limits of single disks are not supported yet")),
        None => Ok(()),
    }
}

fn ulimits(host: &HostConfig, facts: &HostFacts, warnings: &mut Vec<String>) -> Result<(), String> {
    for limit in host.ulimits.iter().flatten() {
        if !RLIMITS.contains(&limit.name.as_str()) {
            return Err(format!("invalid ulimit type: {}", limit.name));
        }
        if limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard) {
            return Err(format!(
                "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                limit.soft, limit.hard
            ));
        }
        if let Some(hard) = facts.hard.lower_than(&limit.name, limit.hard) {
            warnings.push(format!(
                "The ulimit {} is {hard}: the daemon's own hard limit, which it has no right to exceed.",
                limit.name
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn checked(host: Value, isolation: Isolation) -> Result<(HostConfig, Vec<String>), String> {
        let mut host: HostConfig = serde_json::from_value(host).unwrap();
        let mut warnings = Vec::new();
        check(&mut host, isolation, &mut warnings).map(|()| (host, warnings))
    }

    #[test]
    fn ranges_are_dockers() {
        for (host, words) in [
            (json!({ "Memory": 1000 }), "Minimum memory limit allowed is 6MB"),
            (json!({ "MemorySwappiness": 101 }), "valid memory swappiness range is 0-100"),
            (json!({ "CpuPeriod": 999 }), "CPU cfs period can not be less than 1ms"),
            (json!({ "CpuQuota": 10 }), "CPU cfs quota can not be less than 1ms"),
            (json!({ "CpuQuota": -5 }), "CPU cfs quota can not be less than 1ms"),
            (json!({ "BlkioWeight": 5 }), "Range of blkio weight is from 10 to 1000"),
            (json!({ "BlkioDeviceReadBps": [{ "Path": "/dev/vda", "Rate": 1 }] }), "BlkioDeviceReadBps"),
            (json!({ "OomScoreAdj": 1001 }), "range for oom score adj"),
            (json!({ "Ulimits": [{ "Name": "x" }] }), "invalid ulimit type: x"),
        ] {
            let error = checked(host.clone(), Isolation::Process).unwrap_err();
            assert!(error.contains(words), "{host}: {error}");
        }
        let good = json!({ "CpuPeriod": 1000, "CpuQuota": -1, "BlkioWeight": 10, "MemorySwappiness": 0, "BlkioDeviceReadBps": [] });
        assert!(checked(good, Isolation::Process).is_ok());
    }

    #[test]
    fn what_a_vm_has_not_is_said() {
        let asked = json!({ "Memory": 64 << 20, "MemorySwap": 128 << 20 });
        let (_, warnings) = checked(asked, Isolation::Hyperv).unwrap();
        assert!(warnings[0].contains("no swap"), "{warnings:?}");
        let (host, warnings) = checked(json!({ "Memory": 64 << 20 }), Isolation::Hyperv).unwrap();
        assert_eq!((host.memory_swap, warnings.len()), (128 << 20, 0));
    }
}
