//! What a container asks of its kernel beside amounts: parameters, and its place in the OOM killer's list.

use crate::containers::config::HostConfig;
use crate::containers::spec::HostFacts;

/// Parameters that each IPC namespace has for itself.
const OF_IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

pub(super) fn check(host: &HostConfig, facts: &HostFacts) -> Result<(), String> {
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    if host.oom_score_adj < facts.least_oom_score.min(0) {
        return Err(format!(
            "the oom score adj {} cannot be given: the daemon's own is {}, and it has no right to go below that \
             (CAP_SYS_RESOURCE)",
            host.oom_score_adj, facts.least_oom_score
        ));
    }
    host.sysctls.keys().try_for_each(|key| sysctl(key, host))
}

/// A VM's kernel is the container's alone, but a program in a container shall not find another kernel there than at the
/// process level: what would change more than the container is refused at both.
fn sysctl(key: &str, host: &HostConfig) -> Result<(), String> {
    let dotted = key.replace('/', ".");
    if OF_IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        return match host.ipc_mode.as_str() {
            "host" => Err(format!("sysctl {key:?} is not allowed in the hosts ipc namespace")),
            _ => Ok(()),
        };
    }
    if dotted.starts_with("net.") {
        return match host.network_mode.as_str() {
            "host" => Err(format!("sysctl {key:?} not allowed in host network namespace")),
            _ => Ok(()),
        };
    }
    if dotted == "kernel.domainname" || dotted == "kernel.hostname" {
        let field = dotted.trim_start_matches("kernel.");
        return Err(format!("sysctl {key:?} is not allowed as it conflicts with the OCI {field:?} field"));
    }
    Err(format!("sysctl {key:?} is not in a separate kernel namespace"))
}
