//! Health checks: what is probed, what is said of it, and that nothing is left of a probe.

use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Test, check, check_eq, eventually};
use serde_json::{Value, json};

use crate::lifecycle::unix_now;

pub const CASES: &[Test] = &[
    Test::both("health::a_life", a_life),
    Test::both("health::slow_and_loud", slow_and_loud),
    Test::both("health::start_period", start_period),
    Test::both("health::daemon_killed", daemon_killed),
    Test::engine("health::images_and_flags", images_and_flags),
];

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the container's health satisfies `wanted`.
fn health(inspect: impl Fn() -> Result<Value>, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let seen = eventually(PATIENCE, || {
        last = inspect()?["State"]["Health"].take();
        Ok(wanted(&last).then(|| last.clone()))
    });
    seen.with_context(|| format!("the health is {last}"))
}

fn word(wanted: &'static str) -> impl Fn(&Value) -> bool {
    move |health| health["Status"] == wanted
}

/// From starting to unhealthy to healthy, through a pause and a stop.
fn a_life(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let filter = format!("container={name}");
    // What happens before the client listens is told, too.
    let since = unix_now().to_string();
    let events =
        case.beside(&["events", "--since", &since, "--filter", &filter, "--format", "{{.Action}}"])?;
    let args = [
        "run",
        "-d",
        "--name",
        &name,
        &isolation,
        "--health-cmd",
        "test -e /ok && echo fine",
        "--health-interval=200ms",
        "--health-retries=2",
        "nanoserver",
        "sleep",
        "1000",
    ];
    case.docker(&args)?.ok()?;
    let inspect = || case.inspect(&name);
    let ps = |flags: &[&str]| {
        let own = format!("name=^{name}$");
        let args = [&["ps", "-a", "--filter", &own, "--format", "{{.Status}}"], flags].concat();
        case.docker(&args)?.ok()
    };
    let seen = health(inspect, word("unhealthy"))?;
    check!(seen["FailingStreak"].as_i64() >= Some(2), "{seen}");
    check_eq!(seen["Log"][0]["ExitCode"], 1);
    check!(ps(&[])?.ends_with("(unhealthy)"), "{}", ps(&[])?);

    case.shell(&name, "touch /ok")?;
    let seen = health(inspect, word("healthy"))?;
    check_eq!(seen["FailingStreak"], 0);
    let last = seen["Log"].as_array().and_then(|log| log.last()).context("no log")?;
    check_eq!((&last["ExitCode"], &last["Output"]), (&json!(0), &json!("fine\n")));
    check!(last["End"].as_str() > last["Start"].as_str(), "{last}");
    check!(ps(&["--filter", "health=healthy"])?.ends_with("(healthy)"), "{}", ps(&[])?);
    check_eq!(ps(&["--filter", "health=unhealthy"])?, "");
    check_eq!(ps(&["--filter", "health=none"])?, "");
    health(inspect, |health| health["Log"].as_array().is_some_and(|log| log.len() == 5))?;

    events.expect("health_status: healthy")?;
    let printed = events.printed();
    let probe = "/bin/sh -c test -e /ok && echo fine";
    let wanted = [
        "start".to_owned(),
        format!("exec_create: {probe}"),
        format!("exec_start: {probe}"),
        "exec_die".to_owned(),
        "health_status: unhealthy".to_owned(),
        "health_status: healthy".to_owned(),
    ];
    let mut rest = printed.lines();
    for action in wanted {
        check!(
            rest.any(|line| line.trim() == action),
            "{action:?} is missing or out of order in:\n{printed}"
        );
    }

    // Nobody probes what is frozen, and Docker calls that unhealthy.
    case.docker(&["pause", &name])?.ok()?;
    let frozen = inspect()?["State"]["Health"].take();
    check_eq!(frozen["Status"], "unhealthy");
    check!(ps(&[])?.ends_with("(Paused)"), "{}", ps(&[])?);
    std::thread::sleep(Duration::from_millis(900));
    check_eq!(inspect()?["State"]["Health"], frozen);
    case.docker(&["unpause", &name])?.ok()?;
    health(inspect, word("healthy"))?;

    // Nor what has ended.
    case.docker(&["stop", "-t", "0", &name])?.ok()?;
    let stopped = inspect()?;
    check_eq!(stopped["State"]["Health"]["Status"], "unhealthy");
    std::thread::sleep(Duration::from_millis(700));
    check_eq!(inspect()?["State"]["Health"], stopped["State"]["Health"]);
    check_eq!(stopped["ExecIDs"], Value::Null);
    case.cofferdam(&["start", &name])?.ok()?;
    check!(inspect()?["State"]["Health"]["FailingStreak"] == 0, "{}", inspect()?["State"]);
    health(inspect, word("healthy"))?;
    Ok(())
}

/// A probe is killed at its timeout, with everything that it printed; of much output the begin is kept.
fn slow_and_loud(case: &Case) -> Result<()> {
    let slow = [
        "--health-cmd=echo begun; exec sleep 1001",
        "--health-timeout=1s",
        "--health-interval=100ms",
        "--health-retries=1",
        "nanoserver",
        "sleep",
        "1000",
    ];
    let name = case.detached("slow", &slow)?;
    let seen =
        health(|| case.inspect(&name), |health| health["Log"].as_array().is_some_and(|l| l.len() > 1))?;
    check_eq!(seen["Status"], "unhealthy");
    check_eq!(seen["Log"][0]["ExitCode"], -1);
    check_eq!(seen["Log"][0]["Output"], "Health check exceeded timeout (1s): begun\n");
    let count = case.shell(&name, "ps -o args | grep -c '[s]leep 1001' || true")?;
    check!(matches!(count.as_str(), "0" | "1"), "{count} probes are left");
    case.docker(&["rm", "-f", &name])?.ok()?;

    let loud = [
        "--health-cmd=head -c 9000 /dev/zero | tr '\\0' x",
        "--health-interval=100ms",
        "nanoserver",
        "sleep",
        "1000",
    ];
    let name = case.detached("loud", &loud)?;
    let seen = health(|| case.inspect(&name), word("healthy"))?;
    let output = seen["Log"][0]["Output"].as_str().unwrap_or_default();
    check!(output == format!("{}...", "x".repeat(4096)), "{} bytes: {output:.20}", output.len());
    case.docker(&["rm", "-f", &name])?.ok()?;

    // A program that is not there is a failed probe, and says so.
    let body = json!({
        "Image": "nanoserver", "Cmd": ["sleep", "1000"], "HostConfig": { "Isolation": case.level.as_str() },
        "Healthcheck": { "Test": ["CMD", "/no/such"], "Interval": 100_000_000, "Retries": 1 },
    });
    let name = case.name("missing");
    let made = case.daemon()?.post(&format!("/containers/create?name={name}"), &body)?;
    check_eq!(made.status, 201, "{}", made.text());
    case.docker(&["start", &name])?.ok()?;
    let seen = health(|| case.inspect(&name), word("unhealthy"))?;
    check_eq!(seen["Log"][0]["ExitCode"], -1);
    check!(seen["Log"][0]["Output"].as_str().is_some_and(|text| text.contains("/no/such")), "{seen}");
    Ok(())
}

/// While a container starts up, failures do not count and probes come more often.
fn start_period(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let args = [
        "run",
        "-d",
        "--name",
        &name,
        &isolation,
        "--health-cmd=test -e /ok",
        "--health-start-period=1h",
        "--health-start-interval=100ms",
        "--health-interval=1h",
        "--health-retries=1",
        "nanoserver",
        "sleep",
        "1000",
    ];
    case.cofferdam(&args)?.ok()?;
    let failures = |health: &Value| health["Log"].as_array().is_some_and(|log| log.len() > 2);
    let seen = health(|| case.inspect(&name), failures)?;
    check_eq!((&seen["Status"], &seen["FailingStreak"]), (&json!("starting"), &json!(0)));
    let shown =
        case.cofferdam(&["ps", "--filter", &format!("name={name}"), "--format", "{{.Status}}"])?.ok()?;
    check!(shown.ends_with("(health: starting)"), "{shown}");
    case.shell(&name, "touch /ok")?;
    let seen = health(|| case.inspect(&name), word("healthy"))?;
    // From now on the long interval holds.
    std::thread::sleep(Duration::from_millis(600));
    check_eq!(case.inspect(&name)?["State"]["Health"], seen);
    Ok(())
}

/// The next daemon goes on probing what runs, from the start.
fn daemon_killed(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "health", &[])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    let args = [
        "run",
        "-d",
        "--name",
        "probed",
        &isolation,
        "--health-cmd=test ! -e /sick",
        "--health-interval=200ms",
        "--health-retries=1",
        "nanoserver",
        "sleep",
        "1000",
    ];
    daemon.docker(&args).ok()?;
    let inspect = || daemon.inspect("probed");
    health(inspect, word("healthy"))?;
    daemon.docker(&["exec", "probed", "touch", "/sick"]).ok()?;
    health(inspect, word("unhealthy"))?;
    daemon.kill()?;
    daemon.launch(&[])?;
    // It is unhealthy again because someone looks, and not because someone remembers.
    let since = inspect()?["State"]["Health"]["Log"].as_array().and_then(|log| log.last().cloned());
    health(inspect, |health| {
        health["Status"] == "unhealthy"
            && health["Log"].as_array().and_then(|log| log.last()) != since.as_ref()
    })?;
    daemon.docker(&["exec", "probed", "rm", "/sick"]).ok()?;
    health(inspect, word("healthy"))?;
    daemon.docker(&["rm", "-f", "probed"]).ok()?;
    daemon.remove_everything()
}

/// An image's check is taken, completed or switched off; what is wrong is said in Docker's words.
fn images_and_flags(case: &Case) -> Result<()> {
    let root = cofferdam_tests::archive::Image::with_busybox()?.bytes();
    let check = "HEALTHCHECK --interval=100ms --retries=7 CMD true";
    case.docker(&["import", "-c", check, "-", "probed:1"])?.stdin(root).ok()?;
    let config = |name: &str| -> Result<Value> { Ok(case.inspect(name)?["Config"]["Healthcheck"].take()) };
    let create = |suffix: &str, flags: &[&str]| -> Result<String> {
        let name = case.name(suffix);
        case.docker(&[&["run", "-d", "--name", &name], flags, &["probed:1", "sleep", "1000"]].concat())?
            .ok()?;
        Ok(name)
    };
    let name = create("taken", &[])?;
    check_eq!(
        config(&name)?,
        json!({ "Test": ["CMD-SHELL", "true"], "Interval": 100_000_000, "Retries": 7 })
    );
    health(|| case.inspect(&name), word("healthy"))?;
    let name = create("completed", &["--health-interval=3s"])?;
    check_eq!(
        config(&name)?,
        json!({ "Test": ["CMD-SHELL", "true"], "Interval": 3_000_000_000_i64, "Retries": 7 })
    );
    let name = create("off", &["--no-healthcheck"])?;
    let seen = case.inspect(&name)?;
    check_eq!(seen["Config"]["Healthcheck"]["Test"], json!(["NONE"]));
    check_eq!(seen["State"].get("Health"), None);
    check_eq!(
        case.docker(&["ps", "-q", "--filter", "health=none", "--filter", &format!("name={name}")])?.ok()?,
        &seen["Id"].as_str().unwrap_or_default()[..12]
    );

    let refused = |check: Value| {
        case.daemon()?.post("/containers/create", &json!({ "Image": "nanoserver", "Healthcheck": check }))
    };
    let answer = refused(json!({ "Test": ["CMD", "true"], "Interval": 5 }))?;
    check_eq!(
        (answer.status, answer.message().as_str()),
        (400, "Interval in Healthcheck cannot be less than 1ms")
    );
    let answer = refused(json!({ "Retries": -1 }))?;
    check_eq!((answer.status, answer.message().as_str()), (400, "Retries in Healthcheck cannot be negative"));
    let error = case.docker(&["ps", "--filter", "health=fine"])?.fails(1)?;
    check!(error.contains("Unrecognised filter value for health: fine"), "{error}");
    for name in ["taken", "completed", "off"] {
        case.docker(&["rm", "-f", &case.name(name)])?.ok()?;
    }
    case.docker(&["rmi", "probed:1"])?.ok()?;
    Ok(())
}
