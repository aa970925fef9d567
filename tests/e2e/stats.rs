//! What containers use, as both clients and the API show it.

use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Test, check, check_eq, eventually};

pub const CASES: &[Test] = &[Test::both("stats::shown", shown), Test::both("stats::ended", ended)];

/// A container that works and has a limit; its figures are its own at both levels.
fn shown(case: &Case) -> Result<()> {
    let script = "dd if=/dev/urandom of=/dev/shm/x bs=1M count=20 2>/dev/null; while :; do :; done";
    let name = case.detached("a", &["-m", "96m", "--pids-limit", "50", "nanoserver", "sh", "-c", script])?;
    let daemon = case.daemon()?;
    let path = format!("/containers/{name}/stats?stream=false");
    let sample = eventually(Duration::from_secs(60), || {
        let sample = daemon.get(&path)?.json()?;
        Ok(Some(sample).filter(|sample| sample["memory_stats"]["usage"].as_u64() > Some(20 << 20)))
    })
    .context("20 MiB of its own are not counted")?;
    check_eq!(sample["name"].as_str(), Some(format!("/{name}").as_str()));
    check_eq!(sample["memory_stats"]["limit"].as_u64(), Some(96 << 20));
    check!(sample["memory_stats"]["usage"].as_u64() < Some(90 << 20), "the VM is counted, too: {sample}");
    check_eq!(sample["pids_stats"]["limit"].as_u64(), Some(50));
    check!(sample["pids_stats"]["current"].as_u64() >= Some(1), "{sample}");
    let used = |of: &str| sample[of]["cpu_usage"]["total_usage"].as_u64();
    check!(used("cpu_stats") > used("precpu_stats") && used("precpu_stats") > Some(0), "{sample}");
    check!(sample["networks"]["eth0"]["rx_bytes"].is_u64(), "{sample}");
    let is_vm = case.level == cofferdam_tests::Level::Hyperv;
    check_eq!(sample["cofferdam"]["vm"]["memory"].is_u64(), is_vm);

    // Docker's `--format json` came later than version 20.10.
    let format = "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}";
    for cli in [Case::docker, Case::cofferdam] {
        let line = cli(case, &["stats", "--no-stream", "--format", format, &name])?.ok()?;
        let words: Vec<&str> = line.split_whitespace().collect();
        check!(words.len() == 6 && words[0] == name && words[3..5] == ["/", "96MiB"], "{line}");
        let percent: f64 = words[1].trim_end_matches('%').parse()?;
        check!(percent > 1.0, "a container that works uses {percent} %");
    }
    let table = case.cofferdam(&["stats", "--no-stream", &name])?.ok()?;
    check!(table.starts_with("CONTAINER ID   NAME") && table.contains("MEM USAGE / LIMIT"), "{table}");
    Ok(())
}

/// One that does not run has no figures, and no one else is held up.
fn ended(case: &Case) -> Result<()> {
    let name = case.detached("a", &["nanoserver", "true"])?;
    case.becomes(&name, "exited")?;
    let sample = case.daemon()?.get(&format!("/containers/{name}/stats?stream=false"))?.json()?;
    check_eq!(sample["memory_stats"], serde_json::json!({}));
    let line = case.cofferdam(&["stats", "--no-stream", "--format", "{{.MemUsage}}", &name])?.ok()?;
    check_eq!(line, "-- / --");
    let error = case.cofferdam(&["stats", "--no-stream", "nobody"])?.fails(1)?;
    check!(error.contains("No such container: nobody"), "{error}");
    Ok(())
}
