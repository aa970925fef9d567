//! `exec`: further processes in a running container.

use anyhow::Result;
use cofferdam_tests::{Case, Test, check, check_eq, eventually};

pub const CASES: &[Test] =
    &[Test::both("exec::everything", everything), Test::both("exec::terminal", terminal)];

fn everything(case: &Case) -> Result<()> {
    let name = case.detached("a", &["-e", "BASE=1", "nanoserver", "sleep", "1000"])?;
    let exec = |args: &[&str]| case.docker(&[&["exec"], args].concat());

    let seen = exec(&[&name, "sh", "-c", "echo out; echo err >&2; exit 13"])?.output()?;
    check_eq!((seen.code, seen.stdout.as_str(), seen.stderr.as_str()), (13, "out\n", "err\n"));
    let args = [
        "exec",
        "-e",
        "MORE=2",
        "-w",
        "/tmp",
        "-u",
        "77:88",
        &name,
        "sh",
        "-c",
        "echo $BASE$MORE $(pwd) $(id -u):$(id -g)",
    ];
    check_eq!(case.docker(&args)?.ok()?, "12 /tmp 77:88");
    check_eq!(case.cofferdam(&args)?.ok()?, "12 /tmp 77:88");

    let text = "a line\n".repeat(20_000);
    let seen = exec(&["-i", &name, "sh", "-c", "cat; echo done >&2"])?.stdin(text.clone()).output()?;
    check!(seen.stdout == text, "{} bytes came back of {}", seen.stdout.len(), text.len());
    check_eq!(seen.stderr, "done\n");

    let error = exec(&[&name, "no-such-program"])?.fails(127)?;
    let error = format!("{error}{}", exec(&[&name, "no-such-program"])?.output()?.stdout);
    check!(error.contains("executable file not found"), "{error}");
    check_eq!(exec(&[&name, "/etc/passwd"])?.output()?.code, 126);
    check_eq!(exec(&[&name, "sh", "-c", "kill -9 $$"])?.output()?.code, 137);

    exec(&["-d", &name, "sh", "-c", "echo later > /tmp/later"])?.ok()?;
    eventually(std::time::Duration::from_secs(30), || {
        Ok(exec(&[&name, "cat", "/tmp/later"])?.output()?.stdout.contains("later").then_some(()))
    })?;
    // A grandchild that keeps the pipe open does not keep the client.
    check_eq!(exec(&[&name, "sh", "-c", "sleep 1000 & echo started"])?.ok()?, "started");

    let created = case.daemon()?.post(
        &format!("/containers/{name}/exec"),
        &serde_json::json!({"Cmd": ["sh", "-c", "exit 4"], "AttachStdout": true}),
    )?;
    check_eq!(created.status, 201);
    let id = created.json()?["Id"].as_str().unwrap_or_default().to_owned();
    case.daemon()?.post(&format!("/exec/{id}/start"), &serde_json::json!({"Detach": true}))?;
    let seen = eventually(std::time::Duration::from_secs(30), || {
        let seen = case.daemon()?.get(&format!("/exec/{id}/json"))?.json()?;
        Ok(Some(seen).filter(|seen| seen["Running"] == false && seen["ExitCode"] == 4))
    })?;
    check_eq!(seen["ProcessConfig"]["entrypoint"], "sh");

    case.docker(&["kill", &name])?.ok()?;
    case.becomes(&name, "exited")?;
    let error = exec(&[&name, "true"])?.fails(1)?;
    check!(error.contains("is not running"), "{error}");
    Ok(())
}

fn terminal(case: &Case) -> Result<()> {
    let name = case.detached("a", &["nanoserver", "sleep", "1000"])?;
    let mut terminal = case.terminal(&["exec", "-it", &name, "sh"])?;
    terminal.expect("# ")?;
    terminal.send("stty size\r")?;
    terminal.expect("24 80")?;
    terminal.send("exit 21\r")?;
    check_eq!(terminal.finish()?, 21);
    let mut ours = cofferdam_tests::Pty::spawn(case.cofferdam(&["exec", "-it", &name, "sh"])?)?;
    ours.expect("# ")?;
    ours.send("test -t 0 && test -t 1 && echo is a''tty; exit 22\r")?;
    ours.expect("is atty")?;
    check_eq!(ours.finish()?, 22);
    Ok(())
}
