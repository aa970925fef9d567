//! `docker update`: limits of containers that exist, running and not, at both levels.

use anyhow::Result;
use cofferdam_tests::groups::{CPUS, MEMORY, PIDS, QUOTA};
use cofferdam_tests::{Case, Level, Skip, Test, check, check_eq};
use serde_json::json;

pub const CASES: &[Test] = &[
    Test::both("update::running", running),
    Test::both("update::stopped", stopped),
    Test::both("update::all_or_nothing", all_or_nothing),
    Test::both("update::processors", processors),
    Test::both("update::refusals", refusals),
    Test::only(&[Level::Hyperv], "update::a_vm_keeps_its_size", a_vm_keeps_its_size),
];

const MEMORY_FLAGS: [&str; 4] = ["-m", "128m", "--memory-swap", "256m"];

/// A container with limits, that waits.
fn limited(case: &Case, flags: &[&str]) -> Result<String> {
    case.detached("a", &[&MEMORY_FLAGS, flags, &["nanoserver", "sleep", "1000"]].concat())
}

/// Changed while it runs and while it is paused, by both clients; seen from inside, from the host, and by `inspect`.
fn running(case: &Case) -> Result<()> {
    let name = limited(case, &["--cpus", "0.5", "--pids-limit", "30"])?;
    check_eq!(MEMORY.inside(case, &name)?, (128 << 20).to_string());
    let printed =
        case.docker(&["update", "-m", "96m", "--cpus", "0.25", "--pids-limit", "40", &name])?.ok()?;
    check_eq!(printed, name);
    check_eq!(MEMORY.inside(case, &name)?, (96 << 20).to_string());
    check_eq!(PIDS.inside(case, &name)?, "40");
    for seen in [QUOTA.inside(case, &name)?, QUOTA.on_host(case, &name)?] {
        check_eq!(seen, "25000");
    }
    if case.level == Level::Process {
        check_eq!(MEMORY.on_host(case, &name)?, (96 << 20).to_string());
    }
    let stats =
        case.daemon()?.get(&format!("/containers/{name}/stats?stream=false&one-shot=true"))?.json()?;
    check_eq!(stats["memory_stats"]["limit"].as_u64(), Some(96 << 20));

    case.docker(&["pause", &name])?.ok()?;
    let printed =
        case.cofferdam(&["update", "--memory", "120m", "--pids-limit", "-1", "-c", "512", &name])?.ok()?;
    check_eq!(printed, name);
    check_eq!(case.inspect(&name)?["State"]["Status"], "paused");
    case.docker(&["unpause", &name])?.ok()?;
    check_eq!(MEMORY.inside(case, &name)?, (120 << 20).to_string());
    check_eq!(PIDS.inside(case, &name)?, "max");
    let host = &case.inspect(&name)?["HostConfig"];
    check_eq!(host["Memory"], 120 << 20);
    check_eq!(host["MemorySwap"], 256 << 20);
    check_eq!((&host["NanoCpus"], &host["CpuShares"]), (&json!(250_000_000), &json!(512)));
    check_eq!(host["PidsLimit"], -1);

    // It is recorded, and holds after a restart.
    case.docker(&["restart", "-t", "0", &name])?.ok()?;
    check_eq!(MEMORY.inside(case, &name)?, (120 << 20).to_string());
    check_eq!(QUOTA.on_host(case, &name)?, "25000");
    let events = case.daemon()?.events_of(&name)?;
    check_eq!(events.iter().filter(|action| *action == "update").count(), 2);
    Ok(())
}

/// A stopped container, and one that never ran, get their limits at the next start.
fn stopped(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let create = ["create", "--name", &name, &isolation, "nanoserver", "sleep", "1000"];
    case.docker(&create)?.ok()?;
    let args =
        ["update", "-m", "80m", "--memory-swap", "160m", "--pids-limit", "25", "--restart", "always", &name];
    case.docker(&args)?.ok()?;
    case.docker(&["start", &name])?.ok()?;
    check_eq!(MEMORY.inside(case, &name)?, (80 << 20).to_string());
    check_eq!(PIDS.inside(case, &name)?, "25");
    case.docker(&["stop", "-t", "0", &name])?.ok()?;
    case.cofferdam(&["update", "--cpus", "0.5", "--restart", "no", &name])?.ok()?;
    case.docker(&["start", &name])?.ok()?;
    check_eq!(QUOTA.inside(case, &name)?, "50000");
    check_eq!(MEMORY.inside(case, &name)?, (80 << 20).to_string());
    check_eq!(case.inspect(&name)?["HostConfig"]["RestartPolicy"]["Name"], "no");
    Ok(())
}

/// Memory that is in use is not taken away; what was asked for together with it does not happen either.
fn all_or_nothing(case: &Case) -> Result<()> {
    let name = limited(case, &["--cpus", "0.5"])?;
    case.shell(&name, "dd if=/dev/zero of=/dev/shm/big bs=1M count=50 2>/dev/null")?;
    let args = ["update", "-m", "30m", "--memory-swap", "30m", "--cpus", "0.2", "--pids-limit", "9", &name];
    let error = case.docker(&args)?.fails(1)?;
    check!(error.contains("Cannot update container"), "{error}");
    check!(error.contains("unable to set memory limit to 31457280 (current usage: "), "{error}");
    check_eq!(MEMORY.inside(case, &name)?, (128 << 20).to_string());
    check_eq!(PIDS.inside(case, &name)?, "max");
    for seen in [QUOTA.inside(case, &name)?, QUOTA.on_host(case, &name)?] {
        check_eq!(seen, "50000");
    }
    let host = &case.inspect(&name)?["HostConfig"];
    check_eq!((&host["Memory"], &host["NanoCpus"]), (&json!(128 << 20), &json!(500_000_000)));
    // It goes once the memory is free.
    case.shell(&name, "rm /dev/shm/big")?;
    case.docker(&args)?.ok()?;
    check_eq!(MEMORY.inside(case, &name)?, (30 << 20).to_string());
    Ok(())
}

/// The set of processors: of the container, and of its VM.
fn processors(case: &Case) -> Result<()> {
    if std::thread::available_parallelism()?.get() < 2 {
        return Err(Skip::because("this host has one processor"));
    }
    let name = case.detached("a", &["--cpuset-cpus", "0-1", "nanoserver", "sleep", "1000"])?;
    check_eq!(case.shell(&name, "nproc")?, "2");
    case.docker(&["update", "--cpuset-cpus", "1", &name])?.ok()?;
    check_eq!(case.shell(&name, "nproc")?, "1");
    check_eq!(CPUS.on_host(case, &name)?, "1");
    let answer = case.docker(&["update", "--cpuset-cpus", "0,1", &name])?.output()?;
    check_eq!((answer.code, answer.stderr.as_str()), (0, ""));
    check_eq!(case.shell(&name, "nproc")?, "2");
    let error = case.docker(&["update", "--cpuset-cpus", "0-4095", &name])?.fails(1)?;
    check!(error.contains("Requested CPUs are not available - requested 0-4095, available: 0-"), "{error}");
    Ok(())
}

/// In Docker's words, and nothing changes.
fn refusals(case: &Case) -> Result<()> {
    let name = limited(case, &["--cpus", "0.5"])?;
    let before = case.inspect(&name)?["HostConfig"].clone();
    for (flags, words) in [
        (&["-m", "1m"][..], "Minimum memory limit allowed is 6MB"),
        (
            &["-m", "512m"],
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap",
        ),
        (&["--memory-swap", "64m"], "Minimum memoryswap limit should be larger than memory limit"),
        (&["--cpu-quota", "5000"], "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (&["--cpu-period", "5000"], "CPU Period cannot be updated as NanoCPUs has already been set"),
        (&["--cpus", "4096"], "ange of CPUs is from 0.01 to "),
        (&["--cpuset-mems", "77"], "Requested memory nodes are not available"),
        (&["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000"),
    ] {
        let error = case.docker(&[&["update"], flags, &[name.as_str()]].concat())?.fails(1)?;
        check!(error.contains(words), "{flags:?}: {error}");
    }
    check_eq!(case.inspect(&name)?["HostConfig"], before);
    let error = case.cofferdam(&["update", &name])?.fails(1)?;
    check!(error.contains("you must provide one or more flags when using this command"), "{error}");
    let error = case.docker(&["update", "-m", "64m", "nobody-is-here"])?.fails(1)?;
    check!(error.contains("No such container: nobody-is-here"), "{error}");
    Ok(())
}

/// Memory grows as far as the VM's class goes, and beyond only with another VM.
fn a_vm_keeps_its_size(case: &Case) -> Result<()> {
    let name = limited(case, &["--cpus", "1"])?;
    let vm = case.inspect(&name)?["Cofferdam"]["Memory"].as_u64().unwrap_or_default();
    let most = vm - (128 << 20);
    let bytes = most.to_string();
    case.docker(&["update", "-m", &bytes, "--memory-swap", "-1", &name])?.ok()?;
    check_eq!(MEMORY.inside(case, &name)?, bytes);
    let more = (most + (1 << 20)).to_string();
    let more = ["update", "-m", &more, "--memory-swap", "-1", &name];
    let error = case.docker(&more)?.fails(1)?;
    let words = format!("its utility VM has {} MiB of memory while it runs", vm >> 20);
    check!(
        error.contains(&words) && error.contains("stop the container, update it, and start it again"),
        "{error}"
    );
    check_eq!(MEMORY.inside(case, &name)?, bytes);
    if std::thread::available_parallelism()?.get() > 1 {
        let error = case.docker(&["update", "--cpus", "1.5", &name])?.fails(1)?;
        check!(error.contains("its utility VM has 1 processor while it runs"), "{error}");
        let answer = case.docker(&["update", "--cpuset-cpus", "0-1", &name])?.output()?;
        let said = format!("{}{}", answer.stdout, answer.stderr);
        check!(answer.code == 0 && said.contains("1 processor until it is started again"), "{said}");
    }
    // As it says.
    case.docker(&["stop", "-t", "0", &name])?.ok()?;
    case.docker(&more)?.ok()?;
    case.docker(&["start", &name])?.ok()?;
    check_eq!(MEMORY.inside(case, &name)?, (most + (1 << 20)).to_string());
    Ok(())
}
