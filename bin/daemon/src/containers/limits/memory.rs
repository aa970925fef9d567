//! Memory.

use cofferdam_model::Isolation;

use super::{Whose, not_here};
use crate::containers::config::HostConfig;

/// Docker's smallest memory limit.
const LEAST: i64 = 6 << 20;

/// Of a new container, or of a change.
pub(super) fn check(
    host: &mut HostConfig,
    whose: &Whose<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let offers = &whose.facts.offers;
    if host.memory != 0 && host.memory < LEAST {
        return Err("Minimum memory limit allowed is 6MB".to_owned());
    }
    if host.memory > 0 && !offers.memory {
        warnings.push(not_here("memory limit capabilities", "Limitation discarded."));
        (host.memory, host.memory_swap) = (0, -1);
    }
    swap(host, whose, warnings)?;
    if host.memory_swappiness == Some(-1) {
        host.memory_swappiness = None;
    }
    if let Some(value) = host.memory_swappiness.filter(|value| !(0..=100).contains(value)) {
        return Err(format!("Invalid value: {value}, valid memory swappiness range is 0-100"));
    }
    if !offers.swappiness && host.memory_swappiness.take().is_some() {
        warnings.push(not_here("memory swappiness capabilities", "Memory swappiness discarded."));
    }
    if host.memory_reservation > 0 && !offers.reservation {
        warnings.push(not_here("memory soft limit capabilities", "Limitation discarded."));
        host.memory_reservation = 0;
    }
    if host.memory_reservation != 0 && host.memory_reservation < LEAST {
        return Err("Minimum memory reservation allowed is 6MB".to_owned());
    }
    if host.memory_reservation > 0 && host.memory > 0 && host.memory < host.memory_reservation {
        return Err(
            "Minimum memory limit can not be less than memory reservation limit, see usage".to_owned()
        );
    }
    // No kernel since 5.4 limits it apart from other memory.
    if std::mem::take(&mut host.kernel_memory) > 0 {
        warnings.push(not_here("kernel memory limit capabilities", "Limitation discarded."));
    }
    match host.oom_kill_disable {
        Some(disable) if !offers.oom_kill_disable => {
            if disable {
                warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned());
            }
            host.oom_kill_disable = None;
        }
        Some(true) if host.memory == 0 => warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system \
             running out of resources."
                .to_owned(),
        ),
        _ => {}
    }
    Ok(())
}

fn swap(host: &mut HostConfig, whose: &Whose<'_>, warnings: &mut Vec<String>) -> Result<(), String> {
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return Err("Minimum memoryswap limit should be larger than memory limit, see usage".to_owned());
    }
    if host.memory == 0 && host.memory_swap > 0 && !whose.update {
        return Err(
            "You should always set the Memory limit when using Memoryswap limit, see usage".to_owned()
        );
    }
    if host.memory_swap < -1 {
        return Err(format!(
            "invalid memoryswap limit {}: want a size, or -1 for no limit",
            host.memory_swap
        ));
    }
    if whose.isolation == Isolation::Hyperv {
        if host.memory > 0 && host.memory_swap > host.memory {
            warnings
                .push("A utility VM has no swap: the container's memory is limited without it.".to_owned());
        }
    } else if host.memory > 0 && host.memory_swap != -1 && !whose.facts.offers.swap {
        warnings.push(not_here("swap limit capabilities", "Memory limited without swap."));
        host.memory_swap = -1;
    }
    if host.memory > 0 && host.memory_swap == 0 && !whose.update {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    Ok(())
}
