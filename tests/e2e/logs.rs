//! `logs` and its flags.

use std::time::Duration;

use anyhow::Result;
use cofferdam_tests::{Case, Test, check, check_eq};

pub const CASES: &[Test] = &[Test::both("logs::flags", flags), Test::both("logs::much_output", much_output)];

fn flags(case: &Case) -> Result<()> {
    let script =
        "echo one; echo two >&2; sleep 0.5; echo three; read line; echo \"after $line\"; printf unfinished";
    let (name, isolation) = (case.name("a"), case.isolation());
    let create = ["create", "-i", "--name", &name, &isolation, "nanoserver", "sh", "-c", script];
    case.docker(&create)?.ok()?;
    let mut client = case.docker(&["start", "-ai", &name])?.spawn_with_stdin()?;
    client.expect("three")?;
    let logs = |args: &[&str]| case.docker(&[&["logs"], args, &[&name]].concat());
    let seen = logs(&[])?.output()?;
    check_eq!((seen.stdout.as_str(), seen.stderr.as_str()), ("one\nthree\n", "two\n"));
    check_eq!(logs(&["--tail", "1"])?.ok()?, "three");
    check_eq!(logs(&["-n", "0"])?.ok()?, "");

    let follower = logs(&["-f", "--tail", "1"])?.spawn()?;
    follower.expect("three")?;
    let mark = logs(&["-t", "--tail", "1"])?.ok()?;
    let (time, text) = mark.split_once(' ').unwrap_or_default();
    check!(text == "three" && time.len() >= 20 && time.contains('T') && time.ends_with('Z'), "{mark:?}");
    std::thread::sleep(Duration::from_millis(20));
    client.send("more\n")?;
    check_eq!(follower.finish(Duration::from_secs(30))?.ok()?, "three\nafter more\nunfinished");
    client.finish(Duration::from_secs(30))?.ok()?;

    // Docker's --since includes the moment itself.
    let since = logs(&["--since", time])?.ok()?;
    check!(since.starts_with("three\nafter more"), "{since:?}");
    check!(!since.contains("one"), "{since:?}");
    check_eq!(logs(&["--since", "2100-01-01T00:00:00Z"])?.ok()?, "");
    let ours = case.cofferdam(&["logs", &name])?.output()?;
    check_eq!((ours.stdout.as_str(), ours.stderr.as_str()), ("one\nthree\nafter more\nunfinished", "two\n"));
    Ok(())
}

/// Long lines and many lines arrive whole and in order, at the client and in the log.
fn much_output(case: &Case) -> Result<()> {
    let script = "seq 1 20000; head -c 50000 /dev/zero | tr '\\0' x; echo; echo end";
    let (name, isolation) = (case.name("a"), case.isolation());
    let run = ["run", "--name", &name, &isolation, "nanoserver", "sh", "-c", script];
    let seen = case.docker(&run)?.ok()?;
    let logged = case.docker(&["logs", &name])?.ok()?;
    let mut wanted: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    wanted.push_str(&"x".repeat(50_000));
    wanted.push_str("\nend");
    check!(seen == wanted, "the client saw {} bytes of {}", seen.len(), wanted.len());
    check!(logged == wanted, "the log has {} bytes of {}", logged.len(), wanted.len());
    Ok(())
}
