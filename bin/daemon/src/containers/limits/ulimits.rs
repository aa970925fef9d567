//! Limits of single processes.

use cofferdam_api::RLIMITS;

use crate::containers::config::{HostConfig, Ulimit};
use crate::containers::spec::HostFacts;

/// What is wrong with one, in Docker's words.
pub fn refusal(limit: &Ulimit) -> Option<String> {
    if !RLIMITS.contains(&limit.name.as_str()) {
        return Some(format!("invalid ulimit type: {}", limit.name));
    }
    (limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard)).then(|| {
        format!("ulimit soft limit must be less than or equal to hard limit: {} > {}", limit.soft, limit.hard)
    })
}

pub(super) fn check(host: &HostConfig, facts: &HostFacts, warnings: &mut Vec<String>) -> Result<(), String> {
    for limit in host.ulimits.iter().flatten() {
        if let Some(text) = refusal(limit) {
            return Err(text);
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

/// The daemon's own, where the container names none of that kind.
pub fn merge_default(host: &mut HostConfig, default: &[Ulimit]) {
    let own = host.ulimits.get_or_insert_default();
    for limit in default {
        if own.iter().all(|own| own.name != limit.name) {
            own.push(limit.clone());
        }
    }
}
