//! Memory by proportional set size: shared pages count for each sharer's part.

use std::fs;

use anyhow::{Context, Result};

/// A process's PSS in KiB.
pub fn pss(pid: u32) -> Result<u64> {
    let file = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let value = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    value.with_context(|| format!("no Pss in {file}"))
}

/// PSS in MiB of processes and all below them, each counted once. One that ends meanwhile has none.
pub fn pss_of_trees(roots: &[u32]) -> f64 {
    let mut pids: Vec<u32> = roots.iter().flat_map(|&root| descendants(root)).collect();
    pids.sort_unstable();
    pids.dedup();
    let kib: u64 = pids.into_iter().filter_map(|pid| pss(pid).ok()).sum();
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

/// A process's parent.
pub fn parent(pid: u32) -> Result<u32> {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    let value = text.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
    value.with_context(|| format!("no PPid in {file}"))
}

/// A process and all below it.
fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}
