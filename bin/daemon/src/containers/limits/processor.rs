//! Processor time and place.

use std::collections::BTreeSet;

use cofferdam_model::Isolation;
use cofferdam_model::resources::number_list;

use super::{Whose, not_here};
use crate::containers::config::HostConfig;

/// The scheduler's periods in microseconds (kernel: sched-bwc).
const PERIODS: std::ops::RangeInclusive<i64> = 1000..=1_000_000;
/// The period where none is said, in microseconds.
const PERIOD: i64 = 100_000;

/// Of a new container, or of a change.
pub(super) fn check(
    host: &mut HostConfig,
    whose: &Whose<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    time(host, whose, warnings)?;
    realtime(host, whose)?;
    place(host, whose, warnings)
}

fn host_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

fn time(host: &mut HostConfig, whose: &Whose<'_>, warnings: &mut Vec<String>) -> Result<(), String> {
    let offers = &whose.facts.offers;
    if host.nano_cpus > 0 && host.cpu_period > 0 {
        return Err("Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned());
    }
    if host.nano_cpus > 0 && host.cpu_quota > 0 {
        return Err("Conflicting options: Nano CPUs and CPU Quota cannot both be set".to_owned());
    }
    if host.nano_cpus > 0 && !offers.cpu_quota {
        return Err("NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not \
                    mounted"
            .to_owned());
    }
    let cpus = host_cpus();
    if host.nano_cpus < 0 || host.nano_cpus > i64::from(cpus) * 1_000_000_000 {
        return Err(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if host.cpu_shares < 0 {
        return Err(format!("invalid CPU shares ({}): value must be a positive integer", host.cpu_shares));
    }
    if host.cpu_shares > 0 && !offers.cpu_shares {
        warnings.push(not_here("CPU shares", "Shares discarded."));
        host.cpu_shares = 0;
    }
    if (host.cpu_period != 0 || host.cpu_quota != 0) && !offers.cpu_quota {
        warnings
            .push("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.".to_owned());
        (host.cpu_period, host.cpu_quota) = (0, 0);
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

fn realtime(host: &HostConfig, whose: &Whose<'_>) -> Result<(), String> {
    let (period, runtime) = (host.cpu_realtime_period, host.cpu_realtime_runtime);
    if period == 0 && runtime == 0 {
        return Ok(());
    }
    if whose.isolation == Isolation::Hyperv {
        return Err(
            "Your kernel does not support CPU real-time scheduler: a utility VM's is none, use isolation \
                    process"
                .to_owned(),
        );
    }
    if !whose.facts.offers.cpu_realtime {
        return Err("Your kernel does not support CPU real-time scheduler".to_owned());
    }
    if period < 0 || runtime < 0 {
        return Err("cpu real-time period and runtime cannot be negative".to_owned());
    }
    if period != 0 && runtime != 0 && runtime > period {
        return Err("cpu real-time runtime cannot be higher than cpu real-time period".to_owned());
    }
    Ok(())
}

fn place(host: &mut HostConfig, whose: &Whose<'_>, warnings: &mut Vec<String>) -> Result<(), String> {
    let offers = &whose.facts.offers;
    let asked = !(host.cpuset_cpus.is_empty() && host.cpuset_mems.is_empty());
    if asked && !offers.cpuset {
        warnings.push(not_here("cpuset", "Cpuset discarded."));
        host.cpuset_cpus.clear();
        host.cpuset_mems.clear();
    }
    let check = |value: &str, available: &BTreeSet<u32>, kind: &str, what: &str| {
        let numbers = number_list(value).ok_or_else(|| format!("Invalid value {value} for cpuset {kind}"))?;
        if numbers.is_subset(available) {
            return Ok(());
        }
        let available = listed(available);
        Err(format!("Requested {what} are not available - requested {value}, available: {available}"))
    };
    check(&host.cpuset_cpus, &offers.cpus, "cpus", "CPUs")?;
    check(&host.cpuset_mems, &offers.mems, "mems", "memory nodes")
}

/// `0-3,5`
fn listed(numbers: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let run = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// How many processors a container's limits speak of, if they do: what its VM has.
#[must_use]
pub fn cpus_asked(host: &HostConfig) -> Option<u32> {
    let whole =
        |amount: i64, unit: i64| u32::try_from(amount.saturating_add(unit - 1) / unit).unwrap_or(u32::MAX);
    let time = if host.nano_cpus > 0 {
        Some(whole(host.nano_cpus, 1_000_000_000))
    } else if host.cpu_quota > 0 {
        Some(whole(host.cpu_quota, if host.cpu_period > 0 { host.cpu_period } else { PERIOD }))
    } else {
        None
    };
    let place = number_list(&host.cpuset_cpus).filter(|cpus| !cpus.is_empty());
    let place = place.and_then(|cpus| u32::try_from(cpus.len()).ok());
    let asked = time.into_iter().chain(place).min()?;
    Some(asked.clamp(1, host_cpus()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_has_as_many_processors_as_can_be_used() {
        let asked = |nano_cpus, cpu_quota, cpus: &str| {
            let cpuset_cpus = cpus.to_owned();
            cpus_asked(&HostConfig { nano_cpus, cpu_quota, cpuset_cpus, ..HostConfig::default() })
        };
        assert_eq!(asked(0, 0, ""), None);
        assert_eq!(asked(500_000_000, 0, ""), Some(1));
        assert_eq!(asked(0, 50_000, ""), Some(1));
        assert_eq!(asked(0, 0, "0"), Some(1));
        assert_eq!(asked(1_500_000_000, 0, "0"), Some(1));
        assert_eq!(asked(0, i64::MAX, ""), Some(host_cpus()));
    }

    #[test]
    fn lists_are_short() {
        assert_eq!(listed(&[0, 1, 2, 5, 7, 8].into()), "0-2,5,7-8");
        assert_eq!(listed(&BTreeSet::new()), "");
    }
}
