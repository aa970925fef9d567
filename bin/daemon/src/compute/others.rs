//! Other engines' containers and virtual machines, told by the processes that hold them.
//!
//! An engine's own process is in the host's PID namespace, so that what runs inside of containers, whatever it calls
//! itself, is no engine's. How many are looked at and shown is bounded.

use std::collections::{HashMap, HashSet};

use cofferdam_api::ComputeProcess;
use cofferdam_model::{Foreign, Place, ProcessInfo, container_of_group, recognise};
use cofferdam_sys::cgroup::{Cgroup, Hierarchy};
use cofferdam_sys::procfs;

use super::Users;

/// Linux's most PIDs are 4 million; nobody waits for so many.
const MOST_PROCESSES: usize = 65_536;
/// No longer list is shown.
const MOST_SHOWN: usize = 4096;
/// What is read of a process's arguments: QEMU's under libvirt are some 4 KiB.
const ARGUMENTS: u64 = 64 << 10;

/// All but `known`, this engine's.
pub fn find(known: &[&str], users: &Users) -> Vec<ComputeProcess> {
    let known: HashSet<&str> = known.iter().copied().collect();
    let pids = procfs::pids(MOST_PROCESSES);
    let engines: Vec<(i32, Foreign)> = pids
        .iter()
        .filter_map(|&pid| {
            let program = procfs::program(pid).filter(|program| may_be_one(program))?;
            let arguments = procfs::arguments(pid, ARGUMENTS);
            let seen = recognise(&program, &arguments).filter(|seen| !known.contains(seen.id.as_str()))?;
            procfs::is_in_this_pid_namespace(pid).then_some((pid, seen))
        })
        .take(MOST_SHOWN)
        .collect();
    if engines.is_empty() {
        return Vec::new();
    }
    let mut children = HashMap::<i32, Vec<ProcessInfo>>::new();
    if engines.iter().any(|(_, seen)| seen.place == Place::Children) {
        for process in procfs::processes(&pids) {
            children.entry(process.ppid).or_default().push(process);
        }
    }
    let hierarchy = Hierarchy::detect().ok();
    let mut shown = HashSet::new();
    let mut found = Vec::new();
    for (pid, seen) in engines {
        let mut held = match seen.place {
            Place::Itself => procfs::processes(&[pid]),
            Place::Children => children.remove(&pid).unwrap_or_default(),
        };
        // The oldest of a control group is the container's init; the others were executed in it.
        held.sort_by_key(|process| (process.started, process.pid));
        for process in held {
            let one = row(&seen, &process, hierarchy.as_ref(), users);
            if found.len() < MOST_SHOWN && !known.contains(one.id.as_str()) && shown.insert(one.id.clone()) {
                found.push(one);
            }
        }
    }
    found
}

/// A cheap look that leaves nearly all processes out.
fn may_be_one(program: &str) -> bool {
    ["containerd-shim", "conmon", "cofferdam-shim", "qemu-"].iter().any(|start| program.starts_with(start))
}

fn row(
    seen: &Foreign,
    process: &ProcessInfo,
    hierarchy: Option<&Hierarchy>,
    users: &Users,
) -> ComputeProcess {
    let group = procfs::control_group(process.pid);
    let named = group.as_deref().and_then(container_of_group).filter(|_| seen.place == Place::Children);
    let (id, name) = match named {
        // Several containers of a Kubernetes pod have one shim, whose ID is the pod's.
        Some(id) if id != seen.id => (id.to_owned(), id.to_owned()),
        _ if seen.id.is_empty() => (format!("pid-{}", process.pid), seen.name.clone()),
        _ => (seen.id.clone(), seen.name.clone()),
    };
    let counted =
        group.as_deref().filter(|_| named.is_some()).and_then(|group| used_by(hierarchy?, group, &id));
    let (memory, cpu_nanos) = counted.unwrap_or((process.rss, process.cpu_ms.saturating_mul(1_000_000)));
    ComputeProcess {
        name: if name.is_empty() { id.clone() } else { name },
        id,
        owner: seen.owner.to_owned(),
        kind: seen.kind,
        isolation: String::new(),
        pid: process.pid,
        user: users.name(process.uid),
        uid: process.uid,
        memory,
        cpu_nanos,
        read_only: true,
    }
}

/// What the container's group has used, and not a group of its own making below.
fn used_by(hierarchy: &Hierarchy, group: &str, id: &str) -> Option<(u64, u64)> {
    let end = group.find(id)? + id.len();
    let end = group[end..].find('/').map_or(group.len(), |slash| end + slash);
    let usage = Cgroup::in_hierarchy(hierarchy, &group[..end]).ok()?.usage().ok()?;
    (usage.memory > 0).then_some((usage.memory, usage.cpu_nanos))
}
