//! Limits: memory, processes, CPU.

use anyhow::Result;
use cofferdam_tests::{Case, Level, Test, check, check_eq};

pub const CASES: &[Test] =
    &[Test::both("limits::memory", memory), Test::both("limits::processes_and_cpu", processes_and_cpu)];

/// More memory than allowed ends the container with 137 and `OOMKilled`; the event says so.
fn memory(case: &Case) -> Result<()> {
    let name = case.name("a");
    let isolation = case.isolation();
    // `tail` keeps the last line in memory, and this one has no end.
    let args = [
        "run",
        "--name",
        &name,
        "-m",
        "64m",
        "--memory-swap",
        "64m",
        &isolation,
        "nanoserver",
        "sh",
        "-c",
        "exec tail /dev/zero",
    ];
    case.docker(&args)?.fails(137)?;
    let seen = case.inspect(&name)?;
    check_eq!(seen["State"]["OOMKilled"], true);
    check_eq!(seen["State"]["ExitCode"], 137);
    Ok(())
}

fn processes_and_cpu(case: &Case) -> Result<()> {
    let name = case.detached(
        "a",
        &["--pids-limit", "20", "--cpus", "0.5", "-m", "100m", "nanoserver", "sleep", "1000"],
    )?;
    // Inside, the container's own cgroup tells its limits (v1 names on the left, v2 on the right).
    let script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; \
                  cat pids/pids.max pids.max 2>/dev/null; cat cpu/cpu.cfs_quota_us cpu.max 2>/dev/null; true";
    let seen = case.shell(&name, script)?;
    let words: Vec<_> = seen.split_whitespace().collect();
    for wanted in ["104857600", "20", "50000"] {
        check!(words.contains(&wanted), "{wanted} is missing in the container's cgroup: {words:?}");
    }
    let script = "for i in $(seq 40); do sleep 30 & done 2>&1; wait";
    let seen = case.docker(&["exec", &name, "timeout", "3", "sh", "-c", script])?.output()?;
    let all = format!("{}{}", seen.stdout, seen.stderr);
    check!(
        all.contains("fork") || all.contains("Resource temporarily unavailable"),
        "40 processes of 20: {all}"
    );
    if case.level == Level::Hyperv {
        // The limit holds for the VM as a whole, too: its worker is in the container's cgroup on the host.
        let pid = case.inspect(&name)?["State"]["Pid"].to_string();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        check!(groups.contains(&format!("/cofferdam-{}/", case.daemon()?.instance())), "{groups}");
    }
    Ok(())
}
