//! Sudden deaths: of the daemon, of a shim; and two daemons side by side.

use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Invocation, Test, check, check_eq, eventually};

pub const CASES: &[Test] = &[
    Test::both("crash::daemon_killed", daemon_killed).with_vms(2),
    Test::both("crash::daemon_killed_at_every_step_of_a_start", daemon_killed_at_every_step_of_a_start)
        .with_vms(2),
    Test::both("crash::shim_killed", shim_killed),
    Test::both("crash::records_of_another_build", records_of_another_build),
    Test::both("crash::nothing_is_left", nothing_is_left),
    Test::both("crash::daemon_stopped_and_started", daemon_stopped_and_started),
    Test::engine("crash::two_daemons_side_by_side", two_daemons_side_by_side),
    Test::engine("crash::one_daemon_per_root", one_daemon_per_root),
];

/// `kill -9` of the daemon: containers go on and notice nothing; the next daemon finds them again, with their logs,
/// the exit codes of those that ended meanwhile, and their restart policies.
fn daemon_killed(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "crash", &[])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    let run = |name: &str, flags: &[&str], script: &str| {
        let args =
            [&["run", "-d", "--name", name, &isolation], flags, &["nanoserver", "sh", "-c", script]].concat();
        daemon.docker(&args).ok()
    };
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let bind = format!("{}:/shared", dir.display());
    run(
        "stays",
        &["-v", &bind],
        "i=0; while :; do i=$((i+1)); echo line $i; echo $i >/shared/count; sleep 0.1; done",
    )?;
    // Ends, and is started again by its policy, while no daemon is there to see it.
    let script = "echo run; while test ! -e /shared/go; do sleep 0.1; done; exit 6";
    run("ends", &["-v", &bind, "--restart", "on-failure:1"], script)?;
    let count = || -> Option<u64> { std::fs::read_to_string(dir.join("count")).ok()?.trim().parse().ok() };
    eventually(Duration::from_secs(30), || Ok(count().filter(|&count| count > 3)))?;
    let before = daemon.inspect("stays")?;

    daemon.kill()?;
    let at_kill = count();
    eventually(Duration::from_secs(20), || Ok(Some(()).filter(|()| count() > at_kill)))
        .context("the container stopped with its daemon")?;
    std::fs::write(dir.join("go"), "")?;
    std::thread::sleep(Duration::from_millis(1500));
    daemon.launch(&[])?;

    let after = daemon.inspect("stays")?;
    check_eq!(after["State"]["Pid"], before["State"]["Pid"]);
    check_eq!(after["State"]["StartedAt"], before["State"]["StartedAt"]);
    check_eq!(after["NetworkSettings"]["IPAddress"], before["NetworkSettings"]["IPAddress"]);
    let ended = eventually(Duration::from_secs(60), || {
        let seen = daemon.inspect("ends")?;
        Ok(Some(seen).filter(|seen| seen["RestartCount"] == 1 && seen["State"]["Status"] == "exited"))
    })
    .context("the restart policy was forgotten")?;
    check_eq!(ended["State"]["ExitCode"], 6, "{}", ended["State"]);
    check_eq!(daemon.docker(&["logs", "ends"]).ok()?, "run\nrun");
    let logs = daemon.docker(&["logs", "stays"]).ok()?;
    let wanted: Vec<_> = (1..=logs.lines().count()).map(|n| format!("line {n}")).collect();
    check!(logs.lines().eq(wanted.iter().map(String::as_str)), "lines of the log are missing:\n{logs}");
    // It can be reached as before.
    check_eq!(daemon.docker(&["exec", "stays", "echo", "reached"]).ok()?, "reached");
    daemon.docker(&["rm", "-f", "stays", "ends"]).ok()?;
    daemon.remove_everything()
}

/// What cannot be read is named, harms nobody else, keeps what it names, and can be removed.
fn records_of_another_build(case: &Case) -> Result<()> {
    // No template is being made when the daemon is killed.
    let daemon = Daemon::start(case.host, "records", &["--vm-start=boot"])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    for (name, volume) in [("old", "held:/v"), ("new", "other:/v")] {
        let args = ["run", "-d", "--name", name, &isolation, "-v", volume, "nanoserver", "sleep", "1000"];
        daemon.docker(&args).ok()?;
    }
    daemon.docker(&["network", "create", "strange"]).ok()?;
    let pid = daemon.inspect("old")?["State"]["Pid"].as_u64().context("no PID")?;
    daemon.kill()?;
    let database = daemon.data_root().join("cofferdam.db").display().to_string();
    let rewrite = |table: &str, name: &str, from: &str, to: &str| {
        let script = "import sqlite3, sys; database = sqlite3.connect(sys.argv[1]); \
            sql = f'update {sys.argv[2]} set spec = replace(spec, ?, ?) where name = ?'; \
            assert database.execute(sql, (sys.argv[4], sys.argv[5], sys.argv[3])).rowcount == 1; database.commit()";
        Invocation::new("python3", &["-c", script, &database, table, name, from, to]).ok()
    };
    let strange = r#"{"unknown" "#;
    rewrite("container", "old", "{", strange)?;
    rewrite("network", "strange", "{", strange)?;
    daemon.launch(&[])?;

    check_eq!(daemon.docker(&["exec", "new", "echo", "reached"]).ok()?, "reached");
    for args in [["inspect", "--type=container", "old"].as_slice(), &["start", "old"], &["rm", "old"]] {
        let error = daemon.docker(args).fails(1)?;
        check!(error.contains("the record of container old (") && error.contains("another build"), "{error}");
    }
    check!(daemon.log().contains("the record of network strange"), "the network is not named");
    let create = daemon.docker(&["create", "--name", "old", &isolation, "nanoserver", "true"]).fails(1)?;
    check!(create.contains("already in use"), "{create}");
    let error = daemon.docker(&["volume", "rm", "held"]).fails(1)?;
    check!(error.contains("volume is in use"), "{error}");
    // What has ended, and nobody has asked for its status yet, has no program.
    let runs = || std::fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    check!(runs(), "it was ended with its daemon's build");

    daemon.docker(&["rm", "-f", "old"]).ok()?;
    check!(!runs(), "it is removed and runs");
    daemon.docker(&["volume", "rm", "held"]).ok()?;
    daemon.docker(&["run", "--rm", "--name", "old", &isolation, "nanoserver", "true"]).ok()?;
    daemon.docker(&["rm", "-f", "new"]).ok()?;
    // Nothing of the network was touched: the build that can read it has it as it was.
    daemon.kill()?;
    rewrite("network", "strange", strange, "{")?;
    daemon.launch(&[])?;
    let args = ["run", "--rm", &isolation, "--network", "strange", "nanoserver", "true"];
    daemon.docker(&args).ok()?;
    daemon.docker(&["network", "rm", "strange"]).ok()?;
    daemon.remove_everything()
}

/// The daemon is killed at ever later moments of a start; whatever it had made is found again or removed.
fn daemon_killed_at_every_step_of_a_start(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "steps", &[])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    for delay in [0, 10, 20, 35, 50, 70, 100, 500] {
        let name = format!("at-{delay}");
        let args = ["run", "-d", "--name", &name, &isolation, "nanoserver", "sleep", "1000"];
        let client = daemon.docker(&args).spawn()?;
        std::thread::sleep(Duration::from_millis(30 + delay));
        daemon.kill()?;
        drop(client);
        daemon.launch(&[])?;
        // Whatever came of it is a whole container or none.
        let names = daemon.docker(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok()?;
        for line in names.lines() {
            let (name, _) = line.split_once(' ').context("a name and a state")?;
            let seen = daemon.inspect(name)?;
            if seen["State"]["Running"] == true {
                check_eq!(daemon.docker(&["exec", name, "echo", "ok"]).ok()?, "ok", "{name}");
            }
            daemon.docker(&["rm", "-f", name]).ok()?;
        }
        // A removal is answered when the container is gone for every client; its files go right after.
        let left = || {
            let left = cofferdam_tests::leftovers(daemon.instance(), daemon.dir());
            // One template may be in the making: the daemon's that runs now. On a slow host that takes long.
            let mut making = 0;
            let left = left.into_iter().filter(|what| {
                making += usize::from(what.contains("--template"));
                let ours = what.contains("--template") && making == 1;
                what.starts_with("bundle") || what.starts_with("container") || what.contains("shim") && !ours
            });
            left.collect::<Vec<_>>()
        };
        let gone = eventually(Duration::from_secs(20), || Ok(left().is_empty().then_some(())));
        check!(gone.is_ok(), "after a death at {delay} ms: {}", left().join("; "));
    }
    daemon.remove_everything()
}

/// A shim that dies takes its container with it, and the daemon says so.
fn shim_killed(case: &Case) -> Result<()> {
    let name = case.detached("a", &["nanoserver", "sleep", "1000"])?;
    let seen = case.inspect(&name)?;
    let (id, pid) = (seen["Id"].as_str().unwrap_or_default(), seen["State"]["Pid"].to_string());
    let file = case.daemon()?.exec_root().join("containers").join(id).join("shim.pid");
    let shim = std::fs::read_to_string(&file)?.trim().parse().context("shim.pid")?;
    let shim = rustix::process::Pid::from_raw(shim).context("a PID")?;
    rustix::process::kill_process(shim, rustix::process::Signal::KILL)?;
    let seen = case.becomes(&name, "exited")?;
    check!(seen["State"]["ExitCode"] != 0, "{}", seen["State"]);
    eventually(Duration::from_secs(10), || {
        Ok((!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()))
    })
    .with_context(|| format!("PID {pid} lives on without its shim"))?;
    case.docker(&["start", &name])?.ok()?;
    check_eq!(case.shell(&name, "echo again")?, "again");
    Ok(())
}

/// SIGTERM ends the daemon and no container; `--restart always` brings back what was lost meanwhile.
/// Containers with a published port, a volume and a network come and go while daemons and shims are killed; at the end
/// nothing is left. `COFFERDAM_CYCLES` says how many: 10 when it does not.
fn nothing_is_left(case: &Case) -> Result<()> {
    let cycles = std::env::var("COFFERDAM_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let daemon = Daemon::start(case.host, "leaks", &[])?;
    daemon.install_nanoserver()?;
    daemon.docker(&["network", "create", "net"]).ok()?;
    let isolation = case.isolation();
    // The same moments in every run.
    let mut state: u64 = 42;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for cycle in 0..cycles {
        let name = format!("c{cycle}");
        let network = if cycle % 2 == 0 { "net" } else { "bridge" };
        let run = [
            "run",
            "-d",
            "--name",
            &name,
            &isolation,
            "--network",
            network,
            "-p",
            "127.0.0.1::80",
            "-v",
            "vol:/v",
            "-v",
            "/anonymous",
            "nanoserver",
            "sleep",
            "1000",
        ];
        let moment = |millis| std::thread::sleep(Duration::from_millis(millis));
        let what = random(4);
        if what == 0 {
            // In the middle of a start.
            let client = daemon.docker(&run).spawn()?;
            moment(random(400));
            daemon.kill()?;
            client.kill();
            daemon.launch(&[])?;
        } else {
            daemon.docker(&run).ok().with_context(|| format!("cycle {cycle}"))?;
        }
        match what {
            1 => {
                daemon.kill()?;
                daemon.launch(&[])?;
            }
            2 => {
                let id = daemon.inspect(&name)?["Id"].as_str().context("no ID")?.to_owned();
                let pid =
                    std::fs::read_to_string(daemon.exec_root().join("containers").join(id).join("shim.pid"))?;
                Invocation::new("kill", &["-9", pid.trim()]).ok()?;
            }
            3 => {
                // In the middle of a removal.
                let client = daemon.docker(&["rm", "-f", "-v", &name]).spawn()?;
                moment(random(60));
                daemon.kill()?;
                client.kill();
                daemon.launch(&[])?;
            }
            _ => {}
        }
        // It may be gone, or never have been there.
        let removed = daemon.docker(&["rm", "-f", "-v", &name]).output()?;
        check!(
            removed.code == 0 || removed.stderr.contains("No such container"),
            "cycle {cycle} ({what}): {}",
            removed.stderr
        );
    }
    eventually(Duration::from_secs(20), || {
        Ok(daemon.docker(&["network", "rm", "net"]).output()?.code.eq(&0).then_some(()))
    })
    .context("somebody is still in the network")?;
    daemon.docker(&["volume", "rm", "vol"]).ok()?;
    daemon.docker(&["volume", "prune", "-f", "-a"]).ok()?;
    check_eq!(daemon.docker(&["volume", "ls", "-q"]).ok()?, "");
    daemon.remove_everything()
}

fn daemon_stopped_and_started(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "stopped", &[])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    let args =
        ["run", "-d", "--name", "lasting", "--restart", "always", &isolation, "nanoserver", "sleep", "1000"];
    daemon.docker(&args).ok()?;
    let pid = daemon.inspect("lasting")?["State"]["Pid"].as_i64().context("no PID")?;
    daemon.terminate()?;
    let process = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("a PID")?;
    rustix::process::kill_process(process, rustix::process::Signal::KILL)
        .context("it ended with the daemon")?;
    daemon.launch(&[])?;
    eventually(Duration::from_secs(60), || {
        let seen = daemon.inspect("lasting")?;
        Ok((seen["State"]["Running"] == true && seen["State"]["Pid"].as_i64() != Some(pid)).then_some(()))
    })
    .context("it was not started again")?;
    daemon.docker(&["rm", "-f", "lasting"]).ok()?;
    daemon.remove_everything()
}

fn two_daemons_side_by_side(case: &Case) -> Result<()> {
    let first = Daemon::start(case.host, "side", &[])?;
    let second = Daemon::start(case.host, "side", &[])?;
    for daemon in [&first, &second] {
        daemon.install_nanoserver()?;
        daemon
            .docker(&["run", "-d", "--name", "same", "--isolation=process", "nanoserver", "sleep", "1000"])
            .ok()?;
    }
    let address = |daemon: &Daemon| -> Result<String> {
        Ok(daemon.inspect("same")?["NetworkSettings"]["IPAddress"].as_str().unwrap_or_default().to_owned())
    };
    check!(address(&first)? != address(&second)?, "both have {}", address(&first)?);
    first.docker(&["rm", "-f", "same"]).ok()?;
    first.remove_everything()?;
    let gateway =
        second.inspect("same")?["NetworkSettings"]["Gateway"].as_str().unwrap_or_default().to_owned();
    second.docker(&["exec", "same", "ping", "-c", "1", "-w", "10", &gateway]).ok()?;
    second.docker(&["rm", "-f", "same"]).ok()?;
    second.remove_everything()?;
    check!(case.host.binary("cofferdamd").exists(), "the binaries vanished");
    Ok(())
}

/// A second daemon on the same roots is refused, and does the first no harm.
fn one_daemon_per_root(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "alone", &[])?;
    let mut second = daemon.command(&[])?.spawn()?;
    let status = eventually(Duration::from_secs(20), || Ok(second.try_wait()?));
    if status.is_err() {
        second.kill()?;
        second.wait()?;
    }
    check!(!status?.success(), "a second daemon started on the same roots");
    check_eq!(daemon.get("/_ping")?.status, 200);
    daemon.remove_everything()
}
