//! `ps`, `inspect`, `top`: what is shown of containers.

use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Level, Test, check, check_eq, eventually};

pub const CASES: &[Test] = &[
    Test::both("listing::ps", ps),
    Test::both("listing::inspect", inspect),
    Test::both("listing::top", top),
];

fn ps(case: &Case) -> Result<()> {
    let label = format!("listing={}", case.level.as_str());
    let name = case.detached("a", &["-l", &label, "nanoserver", "sleep", "1000"])?;
    let filter = format!("label={label}");
    let row = [
        "ps",
        "--filter",
        &filter,
        "--format",
        "{{.Names}}|{{.Image}}|{{.Command}}|{{.State}}|{{.Networks}}",
    ];
    let wanted = format!("{name}|nanoserver|\"sleep 1000\"|running|bridge");
    check_eq!(case.docker(&row)?.ok()?, wanted);
    check_eq!(case.cofferdam(&row)?.ok()?, wanted);
    let table = case.docker(&["ps", "--filter", &filter])?.ok()?;
    check!(table.starts_with("CONTAINER ID   IMAGE"), "{table}");
    check!(table.contains("Up "), "{table}");
    // The columns are as wide as Docker's, which depends on the time: the first second has more words than the next.
    eventually(Duration::from_secs(20), || {
        let ours = case.cofferdam(&["ps", "--filter", &filter])?.ok()?;
        let theirs = case.docker(&["ps", "--filter", &filter])?.ok()?;
        Ok((ours.lines().next() == theirs.lines().next()).then_some(()))
    })
    .context("the columns' widths are not Docker's")?;

    let id = case.docker(&["ps", "-q", "--no-trunc", "--filter", &filter])?.ok()?;
    check_eq!(id.len(), 64);
    let isolation = format!("isolation={}", case.level.as_str());
    let seen = case.docker(&["ps", "-q", "--no-trunc", "--filter", &isolation, "--filter", &filter])?.ok()?;
    check_eq!(seen, id);
    let other = if case.level == Level::Process { "isolation=hyperv" } else { "isolation=process" };
    check_eq!(case.docker(&["ps", "-q", "--filter", other, "--filter", &filter])?.ok()?, "");

    case.docker(&["kill", &name])?.ok()?;
    case.becomes(&name, "exited")?;
    check_eq!(case.docker(&["ps", "-q", "--filter", &filter])?.ok()?, "");
    let all =
        ["ps", "-a", "--filter", &filter, "--filter", "status=exited", "--filter", "exited=137", "--format"];
    let status = case.docker(&[&all[..], &["{{.Status}}"]].concat())?.ok()?;
    check!(status.starts_with("Exited (137) "), "{status}");
    Ok(())
}

fn inspect(case: &Case) -> Result<()> {
    let name =
        case.detached("a", &["-m", "200m", "-e", "A=b", "-l", "k=v", "nanoserver", "sleep", "1000"])?;
    let format = "{{.State.Status}} {{.HostConfig.Isolation}} {{.HostConfig.Memory}} {{index .Config.Labels \"k\"}} \
                  {{.Path}} {{json .Args}} {{.NetworkSettings.IPAddress}}";
    let seen = case.docker(&["inspect", "--format", format, &name])?.ok()?;
    let wanted = format!("running {} 209715200 v sleep [\"1000\"] ", case.level.as_str());
    check!(
        seen.starts_with(&wanted) && seen.len() > wanted.len() + 6,
        "{seen:?}, wanted {wanted:?} and an address"
    );
    check_eq!(case.cofferdam(&["inspect", "--format", format, &name])?.ok()?, seen);

    let seen = case.inspect(&name)?;
    let pid = seen["State"]["Pid"].as_u64().context("no PID")?;
    check!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "PID {pid} is not on the host");
    let ours = &seen["Cofferdam"];
    check_eq!(ours["Isolation"].as_str(), Some(case.level.as_str()));
    if case.level == Level::Hyperv {
        check!(
            ours["Hypervisor"].as_str().is_some_and(|name| name.to_lowercase().contains("qemu")),
            "{ours}"
        );
        check!(["kvm", "tcg"].contains(&ours["Accelerator"].as_str().unwrap_or_default()), "{ours}");
        check_eq!(ours["GuestKernel"].as_str(), Some(case.shell(&name, "uname -r")?.as_str()));
        check_eq!(ours["WorkerPid"].as_u64(), Some(pid));
    }
    // An unknown name is not there in either CLI, and both say so.
    let error = case.docker(&["inspect", "no-such-thing"])?.fails(1)?;
    check!(error.to_lowercase().contains("no such object"), "{error}");
    case.cofferdam(&["inspect", "no-such-thing"])?.fails(1)?;
    Ok(())
}

/// `top` shows every process: at the process level by its PID on the host, at the hyperv level by the guest's.
fn top(case: &Case) -> Result<()> {
    let name = case.detached("a", &["nanoserver", "sh", "-c", "sleep 4321 & exec sleep 1234"])?;
    let seen = cofferdam_tests::eventually(std::time::Duration::from_secs(20), || {
        let seen = case.docker(&["top", &name])?.ok()?;
        // Until the shell has become one of them.
        Ok(Some(seen).filter(|seen| seen.contains("sleep 4321") && !seen.contains("sh -c")))
    })?;
    check!(seen.starts_with("UID "), "{seen}");
    check_eq!(seen.lines().count(), 3);
    check!(seen.contains("sleep 1234"), "{seen}");
    let chosen = case.docker(&["top", &name, "-o", "pid,comm"])?.ok()?;
    for line in chosen.lines().skip(1) {
        let mut columns = line.split_whitespace();
        let pid: u32 =
            columns.next().unwrap_or_default().parse().with_context(|| format!("no PID in {line:?}"))?;
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let there = command.contains("sleep");
        if case.level == Level::Process {
            check!(there, "{pid} of `top` is not a sleep on the host, but {command:?}");
        }
        check_eq!(columns.next(), Some("sleep"));
    }
    check_eq!(
        case.cofferdam(&["top", &name, "-o", "pid,comm"])?.ok()?.split_whitespace().collect::<Vec<_>>(),
        chosen.split_whitespace().collect::<Vec<_>>()
    );
    let aux = case.docker(&["top", &name, "aux"])?.ok()?;
    check!(aux.contains("%CPU") || aux.contains("RSS"), "{aux}");
    Ok(())
}
