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
