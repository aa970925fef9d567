//! A container's life: created, started, stopped, paused, renamed, removed.

use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Test, check, check_eq, eventually, patient};

pub const CASES: &[Test] = &[
    Test::both("lifecycle::create_start_attach", create_start_attach),
    Test::both("lifecycle::stop_restart_kill_wait", stop_restart_kill_wait),
    Test::both("lifecycle::pause", pause),
    Test::both("lifecycle::rename_and_remove", rename_and_remove),
    Test::both("lifecycle::events", events),
    Test::both("lifecycle::attach_several", attach_several),
    Test::engine("lifecycle::prune", prune),
];

/// A created container waits; `start -ai` gives it input; its writable layer survives a second start.
fn create_start_attach(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let script = "cat >> /data; cat /data";
    case.docker(&["create", "-i", "--name", &name, &isolation, "nanoserver", "sh", "-c", script])?.ok()?;
    check_eq!(case.inspect(&name)?["State"]["Status"], "created");
    check_eq!(case.docker(&["start", "-ai", &name])?.stdin("one\n").ok()?, "one");
    check_eq!(case.docker(&["start", "-ai", &name])?.stdin("two\n").ok()?, "one\ntwo");
    // Starting what has ended without attaching prints its name.
    check_eq!(case.cofferdam(&["start", &name])?.ok()?, name);
    Ok(())
}

fn stop_restart_kill_wait(case: &Case) -> Result<()> {
    let script = "trap 'echo bye; exit 3' TERM; trap 'echo usr1' USR1; echo up; while :; do sleep 0.1; done";
    let name = case.detached("a", &["nanoserver", "sh", "-c", script])?;
    case.beside(&["logs", "-f", &name])?.expect("up")?;

    case.docker(&["kill", "-s", "USR1", &name])?.ok()?;
    case.beside(&["logs", "-f", &name])?.expect("usr1")?;

    let waiter = case.beside(&["wait", &name])?;
    std::thread::sleep(Duration::from_millis(200));
    case.docker(&["stop", &name])?.ok()?;
    check_eq!(waiter.finish(Duration::from_secs(30))?.ok()?, "3");
    let seen = case.inspect(&name)?;
    check_eq!((&seen["State"]["Status"], &seen["State"]["ExitCode"]), (&"exited".into(), &3.into()));
    check_eq!(case.docker(&["logs", &name])?.ok()?, "up\nusr1\nbye");
    // Stopping what is stopped is no error; killing it is one.
    case.docker(&["stop", &name])?.ok()?;
    let error = case.docker(&["kill", &name])?.fails(1)?;
    check!(error.contains("is not running"), "{error}");

    case.docker(&["restart", "-t", "5", &name])?.ok()?;
    check_eq!(case.inspect(&name)?["State"]["Running"], true);
    case.docker(&["kill", &name])?.ok()?;
    check_eq!(case.docker(&["wait", &name])?.ok()?, "137");
    Ok(())
}

/// A paused container makes no progress, and goes on where it was.
fn pause(case: &Case) -> Result<()> {
    let script = "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done";
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let bind = format!("{}:/shared", dir.display());
    let script = script.replace("/count", "/shared/count");
    let name = case.detached("a", &["-v", &bind, "nanoserver", "sh", "-c", &script])?;
    let count = || -> Option<u64> { std::fs::read_to_string(dir.join("count")).ok()?.trim().parse().ok() };
    eventually(Duration::from_secs(30), || Ok(count().filter(|&count| count > 3)))?;
    case.docker(&["pause", &name])?.ok()?;
    check_eq!(case.inspect(&name)?["State"]["Status"], "paused");
    // What was on its way when it froze may still arrive.
    std::thread::sleep(Duration::from_millis(300));
    let frozen = count();
    std::thread::sleep(Duration::from_millis(700));
    check_eq!(count(), frozen);
    let error = case.docker(&["exec", &name, "true"])?.output()?;
    check!(error.code != 0 && error.stderr.contains("paused"), "{error:?}");
    case.docker(&["unpause", &name])?.ok()?;
    eventually(Duration::from_secs(30), || Ok((count() > frozen).then_some(())))?;
    let error = case.docker(&["unpause", &name])?.fails(1)?;
    check!(error.contains("is not paused"), "{error}");
    // A paused container can be removed by force.
    case.docker(&["pause", &name])?.ok()?;
    case.docker(&["rm", "-f", &name])?.ok()?;
    Ok(())
}

fn rename_and_remove(case: &Case) -> Result<()> {
    let name = case.detached("a", &["nanoserver", "sleep", "1000"])?;
    let other = case.name("b");
    case.docker(&["rename", &name, &other])?.ok()?;
    check_eq!(case.inspect(&other)?["Name"].as_str(), Some(format!("/{other}").as_str()));
    check_eq!(case.daemon()?.get(&format!("/containers/{name}/json"))?.status, 404);
    let error = case.docker(&["rm", &other])?.fails(1)?;
    check!(error.contains("container is running") || error.contains("running container"), "{error}");
    let id = case.inspect(&other)?["Id"].as_str().unwrap_or_default().to_owned();
    // By a prefix of the ID, with our own CLI.
    check_eq!(case.cofferdam(&["rm", "-f", &id[..12]])?.ok()?, &id[..12]);
    check_eq!(case.daemon()?.get(&format!("/containers/{id}/json"))?.status, 404);
    let bundle = case.daemon()?.exec_root().join("containers").join(&id);
    eventually(Duration::from_secs(20), || Ok((!bundle.exists()).then_some(())))
        .context("its bundle stayed")?;
    // What it wrote is taken down behind the client's back.
    let directory = case.daemon()?.data_root().join("containers").join(&id);
    eventually(Duration::from_secs(20), || Ok((!directory.exists()).then_some(())))
        .context("its directory stayed")?;
    Ok(())
}

/// The events of one container's life, in order.
fn events(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let filter = format!("container={name}");
    let format = ["events", "--filter", &filter, "--format", "{{.Action}}"];
    let live = case.beside(&format)?;
    let since = unix_now();
    std::thread::sleep(Duration::from_millis(300));
    case.docker(&["run", "-d", "--name", &name, &isolation, "nanoserver", "sleep", "1000"])?.ok()?;
    case.docker(&["exec", &name, "true"])?.ok()?;
    case.docker(&["kill", &name])?.ok()?;
    case.becomes(&name, "exited")?;
    case.docker(&["rm", &name])?.ok()?;
    live.expect("destroy")?;
    let wanted =
        ["create", "start", "exec_create: true", "exec_start: true", "exec_die", "kill", "die", "destroy"];
    let seen = live.printed();
    let mut rest = seen.lines();
    for action in wanted {
        check!(rest.any(|line| line.trim() == action), "{action:?} is missing or out of order in:\n{seen}");
    }
    // What is past can be asked for.
    let until = (unix_now() + 1).to_string();
    let past =
        case.docker(&[&format[..], &["--since", &since.to_string(), "--until", &until]].concat())?.ok()?;
    check!(past.contains("create") && past.contains("destroy"), "{past}");
    Ok(())
}

/// Unix time in seconds.
pub fn unix_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map(|now| now.as_secs()).unwrap_or_default()
}

/// Two clients see the same output; one that goes away does not disturb the other.
fn attach_several(case: &Case) -> Result<()> {
    let script = "i=0; while read line; do i=$((i+1)); echo \"got $line\"; done; echo closed";
    let (name, isolation) = (case.name("a"), case.isolation());
    let create = ["create", "-i", "--name", &name, &isolation, "nanoserver", "sh", "-c", script];
    case.docker(&create)?.ok()?;
    let mut first = case.docker(&["start", "-ai", &name])?.spawn_with_stdin()?;
    first.send("one\n")?;
    first.expect("got one")?;
    let second = case.docker(&["attach", "--no-stdin", &name])?.spawn()?;
    let third = case.docker(&["attach", "--no-stdin", &name])?.spawn()?;
    std::thread::sleep(patient(Duration::from_millis(500)));
    third.kill();
    first.send("two\n")?;
    first.expect("got two")?;
    second.expect("got two")?;
    first.close_stdin();
    check_eq!(first.finish(Duration::from_secs(30))?.ok()?, "got one\ngot two\nclosed");
    check!(
        second.finish(Duration::from_secs(30))?.ok()?.contains("closed"),
        "the second client missed the end"
    );
    Ok(())
}

fn prune(case: &Case) -> Result<()> {
    let keep = case.name("keep");
    let label = "prune=this";
    for suffix in ["x", "y"] {
        case.docker(&["create", "--name", &case.name(suffix), "-l", label, "nanoserver"])?.ok()?;
    }
    case.docker(&["create", "--name", &keep, "nanoserver"])?.ok()?;
    let seen = case.docker(&["container", "prune", "-f", "--filter", &format!("label={label}")])?.ok()?;
    check!(
        seen.contains("Deleted Containers:") && seen.lines().filter(|line| line.len() == 64).count() == 2,
        "{seen}"
    );
    check_eq!(case.inspect(&keep)?["State"]["Status"], "created");
    Ok(())
}
