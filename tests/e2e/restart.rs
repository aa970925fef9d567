//! Restart policies, stop signals and timeouts.

use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Level, Test, check, check_eq, eventually};
use serde_json::Value;

use crate::lifecycle::unix_now;

pub const CASES: &[Test] = &[
    Test::both("restart::policies", policies),
    Test::only(&[Level::Process], "restart::stopped_at_any_moment", stopped_at_any_moment),
    Test::both("restart::delays_double", delays_double),
    Test::both("restart::daemon_gone_and_back", daemon_gone_and_back).with_vms(2),
    Test::both("restart::stop_signals", stop_signals),
    Test::both("restart::stop_timeouts", stop_timeouts),
    Test::both("restart::by_hand_with_rm", by_hand_with_rm),
];

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `inspect` of the container satisfies `wanted`.
fn becomes(case: &Case, name: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let seen = eventually(PATIENCE, || {
        last = case.inspect(name)?;
        Ok(wanted(&last).then(|| last.clone()))
    });
    seen.with_context(|| format!("{name}: {} after {} restarts", last["State"], last["RestartCount"]))
}

fn policies(case: &Case) -> Result<()> {
    // So many failures, and no more.
    let script = "echo run; exit 3";
    let name = case.detached("failing", &["--restart=on-failure:2", "nanoserver", "sh", "-c", script])?;
    let seen = becomes(case, &name, |seen| seen["State"]["Status"] == "exited" && seen["RestartCount"] == 2)?;
    check_eq!(seen["State"]["ExitCode"], 3);
    std::thread::sleep(Duration::from_millis(700));
    check_eq!(case.docker(&["logs", &name])?.ok()?, "run\nrun\nrun");
    // By hand it begins to count anew.
    case.docker(&["start", &name])?.ok()?;
    becomes(case, &name, |seen| seen["State"]["Status"] == "exited" && seen["RestartCount"] == 2)?;
    check_eq!(case.docker(&["logs", &name])?.ok()?.lines().count(), 6);

    // A success is no failure, and a kill by hand is nobody's.
    let name = case.detached("succeeding", &["--restart=on-failure", "nanoserver", "true"])?;
    becomes(case, &name, |seen| seen["State"]["Status"] == "exited")?;
    let killed = case.detached("killed", &["--restart=always", "nanoserver", "sleep", "1000"])?;
    case.docker(&["kill", &killed])?.ok()?;
    std::thread::sleep(Duration::from_millis(500));
    for name in [name, killed] {
        let seen = case.inspect(&name)?;
        check_eq!((&seen["State"]["Status"], &seen["RestartCount"]), (&"exited".into(), &0.into()));
    }

    // Always means after a success, too, until it is stopped: between two runs as well.
    let name = case.detached("always", &["--restart=always", "nanoserver", "sh", "-c", "echo run"])?;
    becomes(case, &name, |seen| seen["RestartCount"].as_i64() >= Some(3))?;
    let seen = becomes(case, &name, |seen| seen["State"]["Restarting"] == true)?;
    check_eq!((&seen["State"]["Status"], &seen["State"]["Running"]), (&"restarting".into(), &true.into()));
    // It is started already, as Docker sees it.
    case.docker(&["start", &name])?.ok()?;
    check!(case.inspect(&name)?["RestartCount"].as_i64() >= Some(3), "it was started anew");
    case.docker(&["stop", &name])?.ok()?;
    let count = case.inspect(&name)?["RestartCount"].clone();
    std::thread::sleep(Duration::from_millis(2000));
    let seen = case.inspect(&name)?;
    check_eq!((&seen["State"]["Status"], &seen["RestartCount"]), (&"exited".into(), &count));

    // A policy can be given up while it waits.
    let args = ["--restart=unless-stopped", "nanoserver", "sh", "-c", "sleep 0.2; exit 1"];
    let name = case.detached("updated", &args)?;
    becomes(case, &name, |seen| seen["RestartCount"].as_i64() >= Some(1))?;
    case.docker(&["update", "--restart=no", &name])?.ok()?;
    let seen = becomes(case, &name, |seen| seen["State"]["Status"] == "exited")?;
    check_eq!(seen["State"]["ExitCode"], 1);
    Ok(())
}

/// What is stopped, killed or removed stays so, whether that finds a run, an end, a wait, or what lies between.
fn stopped_at_any_moment(case: &Case) -> Result<()> {
    let mut rest = Vec::new();
    for moment in 0..24 {
        // The first runs end at once, and restarts come after 100 and 200 ms: some of these moments are theirs.
        let name = case.detached(&format!("s{moment}"), &["--restart=always", "nanoserver", "true"])?;
        std::thread::sleep(Duration::from_millis(moment * 17));
        let end: &[&str] = [&["rm", "-f"][..], &["stop"], &["kill"]][rest.len() % 3];
        case.docker(&[end, &[&name]].concat())?.ok()?;
        rest.push((moment, name));
    }
    let mut counts = Vec::new();
    for (moment, name) in rest.iter().filter(|(moment, _)| moment % 3 != 0) {
        let seen = case.inspect(name)?;
        check_eq!(seen["State"]["Status"], "exited", "{name}, after {} ms", moment * 17);
        counts.push((name, seen["RestartCount"].clone()));
    }
    // Longer than any delay that they had.
    std::thread::sleep(Duration::from_millis(2000));
    for (name, count) in counts {
        let seen = case.inspect(name)?;
        check_eq!((&seen["State"]["Status"], &seen["RestartCount"]), (&"exited".into(), &count), "{name}");
    }
    Ok(())
}

/// No restart comes sooner than Docker's: 100 ms after the first end, then twice as long each time.
fn delays_double(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let filter = format!("container={name}");
    // What happens before the client listens is told, too.
    let since = unix_now().to_string();
    let format = ["events", "--since", &since, "--filter", &filter, "--format", "{{.Action}} {{.TimeNano}}"];
    let events = case.beside(&format)?;
    let args = ["create", "--name", &name, &isolation, "--restart=on-failure:4", "nanoserver", "false"];
    case.docker(&args)?.ok()?;
    case.docker(&["start", &name])?.ok()?;
    becomes(case, &name, |seen| seen["State"]["Status"] == "exited" && seen["RestartCount"] == 4)?;
    let seen = eventually(PATIENCE, || {
        let printed = events.printed();
        Ok((printed.matches("die ").count() == 5).then_some(printed))
    })?;
    let moments = |action: &str| -> Result<Vec<i64>> {
        let lines = seen.lines().filter_map(|line| line.strip_prefix(action)?.strip_prefix(' '));
        lines.map(|time| Ok(time.trim().parse()?)).collect()
    };
    let (starts, ends) = (moments("start")?, moments("die")?);
    check_eq!((starts.len(), ends.len()), (5, 5), "{seen}");
    for (number, (end, start)) in ends.iter().zip(&starts[1..]).enumerate() {
        let least = 100 << number;
        check!(start - end >= least * 1_000_000, "restart {number} came after {} us", (start - end) / 1000);
    }
    Ok(())
}

/// What the next daemon starts: `always` in any case, `unless-stopped` unless it was, what has no policy never.
fn daemon_gone_and_back(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "policies", &[])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    for (name, policy) in
        [("always", "always"), ("stopped", "unless-stopped"), ("lost", "unless-stopped"), ("none", "no")]
    {
        let restart = format!("--restart={policy}");
        let args = ["run", "-d", "--name", name, &isolation, &restart, "nanoserver", "sleep", "1000"];
        daemon.docker(&args).ok()?;
        if name == "always" || name == "stopped" {
            daemon.docker(&["stop", "-t", "0", name]).ok()?;
        }
    }
    let pid = |name: &str| -> Result<rustix::process::Pid> {
        let pid = daemon.inspect(name)?["State"]["Pid"].as_i64().context("no PID")?;
        rustix::process::Pid::from_raw(i32::try_from(pid)?).context("a PID")
    };
    let pids = [pid("lost")?, pid("none")?];
    daemon.kill()?;
    for pid in pids {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    }
    daemon.launch(&[])?;
    for name in ["always", "lost"] {
        eventually(PATIENCE, || Ok((daemon.inspect(name)?["State"]["Running"] == true).then_some(())))
            .with_context(|| format!("{name} was not started"))?;
    }
    for name in ["stopped", "none"] {
        let seen = daemon.inspect(name)?;
        check_eq!(seen["State"]["Status"], "exited", "{name}");
    }
    check!(daemon.inspect("none")?["State"]["ExitCode"] != 0, "it was killed");
    daemon.docker(&["rm", "-f", "always", "stopped", "lost", "none"]).ok()?;
    daemon.remove_everything()
}

/// The signal of `stop -s`, else of the container, else of its image, else TERM.
fn stop_signals(case: &Case) -> Result<()> {
    let image = format!("signalled-{}:1", case.level.as_str());
    let root = cofferdam_tests::archive::Image::with_busybox()?.bytes();
    case.docker(&["import", "-c", "STOPSIGNAL SIGUSR1", "-", &image])?.stdin(root).ok()?;
    let script = "for s in TERM USR1 USR2 HUP; do trap \"echo $s; exit 4\" $s; done; echo up; \
                  while :; do sleep 0.1; done";
    for (suffix, flags, image, stop, wanted) in [
        ("image", &[][..], image.as_str(), &[][..], "USR1"),
        ("own", &["--stop-signal=SIGUSR2"], &image, &[], "USR2"),
        ("asked", &["--stop-signal=SIGUSR2"], &image, &["-s", "HUP"], "HUP"),
        ("default", &[], "nanoserver", &[], "TERM"),
    ] {
        let name = case.detached(suffix, &[flags, &[image, "sh", "-c", script]].concat())?;
        case.beside(&["logs", "-f", &name])?.expect("up")?;
        case.docker(&[&["stop"], stop, &[&name]].concat())?.ok()?;
        check_eq!(case.docker(&["logs", &name])?.ok()?, format!("up\n{wanted}"), "{suffix}");
        check_eq!(case.inspect(&name)?["State"]["ExitCode"], 4);
        case.docker(&["rm", &name])?.ok()?;
    }
    case.docker(&["rmi", &image])?.ok()?;
    let error = case.docker(&["create", "--stop-signal=NONSENSE", "nanoserver"])?.fails(1)?;
    check!(error.contains("Invalid signal: NONSENSE"), "{error}");
    Ok(())
}

/// Who does not listen is killed when its time is over, and not before; a kill ends any wait.
fn stop_timeouts(case: &Case) -> Result<()> {
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    let begin = std::time::Instant::now();
    let name = case.detached("a", &["--stop-timeout=2", "nanoserver", "sh", "-c", deaf])?;
    let up = |times: usize| {
        eventually(PATIENCE, || {
            Ok((case.docker(&["logs", &name])?.ok()?.lines().count() == times).then_some(()))
        })
    };
    up(1)?;
    case.docker(&["stop", &name])?.ok()?;
    check!(begin.elapsed() >= Duration::from_secs(2), "it was killed early");
    check_eq!(case.inspect(&name)?["State"]["ExitCode"], 137);

    case.docker(&["start", &name])?.ok()?;
    up(2)?;
    case.cofferdam(&["restart", "-t", "0", &name])?.ok()?;
    up(3)?;
    check_eq!(case.inspect(&name)?["State"]["Running"], true);

    // Without end, until somebody kills it.
    let stopping = case.beside(&["stop", "-t", "-1", &name])?;
    std::thread::sleep(Duration::from_millis(500));
    check_eq!(case.inspect(&name)?["State"]["Running"], true);
    case.docker(&["kill", &name])?.ok()?;
    stopping.finish(Duration::from_secs(30))?.ok()?;
    check_eq!(case.inspect(&name)?["State"]["ExitCode"], 137);

    // A paused container hears its stop.
    let polite = "trap 'exit 6' TERM; echo up; while :; do sleep 0.1; done";
    let name = case.detached("paused", &["nanoserver", "sh", "-c", polite])?;
    case.beside(&["logs", "-f", &name])?.expect("up")?;
    case.docker(&["pause", &name])?.ok()?;
    case.docker(&["stop", &name])?.ok()?;
    check_eq!(case.inspect(&name)?["State"]["ExitCode"], 6);
    Ok(())
}

/// `restart` of a container with `--rm` restarts it; its end removes it.
fn by_hand_with_rm(case: &Case) -> Result<()> {
    let name = case.detached("a", &["--rm", "nanoserver", "sleep", "1000"])?;
    let before = case.inspect(&name)?;
    case.docker(&["restart", "-t", "0", &name])?.ok()?;
    let after = case.inspect(&name)?;
    check_eq!(after["Id"], before["Id"]);
    check!(after["State"]["StartedAt"] != before["State"]["StartedAt"], "it was not started again");
    case.docker(&["stop", "-t", "0", &name])?.ok()?;
    eventually(PATIENCE, || {
        Ok((case.daemon()?.get(&format!("/containers/{name}/json"))?.status == 404).then_some(()))
    })
    .context("it stayed")
}
