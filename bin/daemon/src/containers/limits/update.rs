//! `docker update`: other limits for a container that exists.

use cofferdam_model::VmInfo;
use cofferdam_model::resources::number_list;

use super::cpus_asked;
use crate::containers::config::HostConfig;
use crate::containers::restart;
use crate::vm;

/// What the container has with what was asked for (and checked), or Docker's words why not.
pub fn merge(current: &HostConfig, wanted: &HostConfig) -> Result<HostConfig, String> {
    let mut host = current.clone();
    conflicts(current, wanted)?;
    let number = |field: &mut i64, wanted: i64| {
        if wanted != 0 {
            *field = wanted;
        }
    };
    number(&mut host.cpu_shares, wanted.cpu_shares);
    number(&mut host.nano_cpus, wanted.nano_cpus);
    number(&mut host.cpu_period, wanted.cpu_period);
    number(&mut host.cpu_quota, wanted.cpu_quota);
    number(&mut host.cpu_realtime_period, wanted.cpu_realtime_period);
    number(&mut host.cpu_realtime_runtime, wanted.cpu_realtime_runtime);
    number(&mut host.memory, wanted.memory);
    number(&mut host.memory_swap, wanted.memory_swap);
    number(&mut host.memory_reservation, wanted.memory_reservation);
    if wanted.blkio_weight != 0 {
        host.blkio_weight = wanted.blkio_weight;
    }
    for (field, wanted) in
        [(&mut host.cpuset_cpus, &wanted.cpuset_cpus), (&mut host.cpuset_mems, &wanted.cpuset_mems)]
    {
        if !wanted.is_empty() {
            field.clone_from(wanted);
        }
    }
    // 0 is Docker's other word for no limit.
    host.pids_limit = wanted.pids_limit.map(|limit| if limit == 0 { -1 } else { limit }).or(host.pids_limit);
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return Err("Minimum memoryswap limit should be larger than memory limit, see usage".to_owned());
    }
    if !wanted.restart_policy.name.is_empty() {
        if let Some(text) = restart::refusal(&wanted.restart_policy, false) {
            return Err(text);
        }
        if host.auto_remove && wanted.restart_policy.name != "no" {
            return Err(
                "Restart policy cannot be updated because AutoRemove is enabled for the container".to_owned()
            );
        }
        host.restart_policy = wanted.restart_policy.clone();
    }
    Ok(host)
}

fn conflicts(current: &HostConfig, wanted: &HostConfig) -> Result<(), String> {
    for (asked, set, what, already) in [
        (wanted.nano_cpus, current.cpu_period, "Nano CPUs", "CPU Period"),
        (wanted.nano_cpus, current.cpu_quota, "Nano CPUs", "CPU Quota"),
        (wanted.cpu_period, current.nano_cpus, "CPU Period", "NanoCPUs"),
        (wanted.cpu_quota, current.nano_cpus, "CPU Quota", "NanoCPUs"),
    ] {
        if asked > 0 && set > 0 {
            return Err(format!(
                "Conflicting options: {what} cannot be updated as {already} has already been set"
            ));
        }
    }
    if wanted.memory > current.memory_swap && current.memory_swap != -1 && wanted.memory_swap == 0 {
        return Err(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether a VM that runs can give what is asked for; it keeps its memory and its processors until it ends.
pub fn fits(vm: &VmInfo, wanted: &HostConfig, merged: &HostConfig) -> Result<(), String> {
    const HOW: &str = "stop the container, update it, and start it again";
    let most = vm.memory.saturating_sub(vm::OVERHEAD);
    if u64::try_from(wanted.memory).is_ok_and(|wanted| wanted > most) {
        return Err(format!(
            "its utility VM has {} MiB of memory while it runs, {} MiB of them for the container: {HOW}",
            vm.memory >> 20,
            most >> 20
        ));
    }
    let of_time = HostConfig { cpuset_cpus: String::new(), ..merged.clone() };
    let asked = cpus_asked(&of_time).filter(|_| wanted.nano_cpus > 0 || wanted.cpu_quota > 0);
    if asked.is_some_and(|asked| asked > vm.cpus) {
        return Err(format!("its utility VM has {} while it runs: {HOW}", processors(vm.cpus)));
    }
    Ok(())
}

/// What a VM that runs makes of it only after its next start.
pub fn later(vm: &VmInfo, wanted: &HostConfig) -> Option<String> {
    let more = number_list(&wanted.cpuset_cpus)?.len() > usize::try_from(vm.cpus).unwrap_or(usize::MAX);
    more.then(|| {
        format!(
            "The container's utility VM has {} until it is started again: it runs on any of these CPUs, but not on \
             more at a time.",
            processors(vm.cpus)
        )
    })
}

fn processors(count: u32) -> String {
    format!("{count} processor{}", if count == 1 { "" } else { "s" })
}
