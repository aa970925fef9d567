//! Compute processes: what runs on the host, who has made it, and what ends when one is killed from outside.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Level, Test, check, check_eq, eventually, request_as};
use serde_json::{Value, json};

pub const CASES: &[Test] = &[
    Test::both("compute::listed_and_stopped", listed_and_stopped).with_vms(2),
    Test::both("compute::killed_from_outside", killed_from_outside).with_vms(2),
    Test::engine("compute::of_other_engines", of_other_engines),
];

fn rows(daemon: &Daemon, filters: &Value) -> Result<Vec<Value>> {
    let filters: String = filters.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = daemon.get(&format!("/cofferdam/compute?filters={filters}"))?;
    check_eq!(answer.status, 200, "{}", answer.text());
    Ok(answer.json()?.as_array().context("a list")?.clone())
}

/// Both fronts' containers, narrow and wide; stopped by ID in any case, and at once.
fn listed_and_stopped(case: &Case) -> Result<()> {
    let daemon = case.daemon()?;
    let first = case.detached("docker", &["nanoserver", "sleep", "1000"])?;
    let second = case.name("cmdlet");
    let body = json!({
        "Image": "nanoserver", "Cmd": ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"],
        "HostConfig": { "Isolation": case.level.as_str() },
    });
    let made = request_as(
        &daemon.socket(),
        "POST",
        &format!("/containers/create?name={second}"),
        &[("X-Cofferdam-Front", "cmdlet")],
        Some(body.to_string().as_bytes()),
    )?;
    check_eq!(made.status, 201, "{}", made.text());
    // One that does not run is no compute process.
    check_eq!(rows(daemon, &json!({ "name": [&second] }))?.len(), 0);
    case.docker(&["start", &second])?.ok()?;
    check_eq!(case.inspect(&second)?["Cofferdam"]["Owner"], "VMMS");

    for (name, owner) in [(&first, "docker"), (&second, "VMMS")] {
        let found =
            rows(daemon, &json!({ "owner": [owner], "name": [name], "isolation": [case.level.as_str()] }))?;
        check_eq!(found.len(), 1, "{name}");
        let (row, seen) = (&found[0], case.inspect(name)?);
        check_eq!((&row["Id"], &row["Type"]), (&seen["Id"], &json!("Container")));
        check_eq!(row["Pid"], seen["State"]["Pid"]);
        check!(row["Memory"].as_u64() > Some(0) && row["CpuNanos"].as_u64() > Some(0), "{row}");
        if case.level == Level::Hyperv {
            check_eq!(
                (&row["User"], &row["Uid"]),
                (&seen["Cofferdam"]["WorkerUser"], &seen["Cofferdam"]["WorkerUid"])
            );
        } else {
            check_eq!((&row["User"], &row["Uid"]), (&json!("root"), &json!(0)));
        }
    }
    let id = case.inspect(&first)?["Id"].as_str().context("an ID")?.to_owned();
    let listed = case.cofferdam(&["compute", "ls"])?.ok()?;
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    check_eq!(words(listed.lines().next().unwrap_or_default()), ["Id", "Name", "Owner", "Type"]);
    let line = listed.lines().find(|line| line.contains(&first)).context("not listed")?;
    check_eq!(words(line), [&id[..12], &first, "docker", "Container"]);
    let wide = case.cofferdam(&["compute", "ls", "--wide", "--filter", &format!("name={first}")])?.ok()?;
    check!(wide.contains("PID") && wide.contains(case.level.as_str()), "{wide}");
    let shown = case.cofferdam(&["compute", "inspect", "--format", "{{.Owner}} {{.Id}}", &id[..20]])?.ok()?;
    check_eq!(shown, format!("docker {id}"));

    check_eq!(case.cofferdam(&["compute", "stop", "-f", &second])?.ok()?, second);
    check_eq!(case.inspect(&second)?["State"]["ExitCode"], 137);
    case.cofferdam(&["compute", "stop", &id.to_uppercase()])?.ok()?;
    check_eq!(case.inspect(&first)?["State"]["Status"], "exited");
    let gone = case.cofferdam(&["compute", "stop", &id])?.fails(1)?;
    check!(gone.contains("No such compute process"), "{gone}");
    Ok(())
}

/// `kill -9` of one's process on the host: a crash of that container, told by code and event, and of no other.
fn killed_from_outside(case: &Case) -> Result<()> {
    let daemon = case.daemon()?;
    let victim = case.detached("victim", &["nanoserver", "sleep", "1000"])?;
    let other = case.detached("other", &["nanoserver", "sleep", "1000"])?;
    let row = rows(daemon, &json!({ "name": [&victim] }))?.pop().context("not listed")?;
    let before = rows(daemon, &json!({ "name": [&other] }))?.pop().context("not listed")?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(row["Pid"].as_i64().context("a PID")?)?);
    rustix::process::kill_process(pid.context("a PID")?, rustix::process::Signal::KILL)?;
    let seen = case.becomes(&victim, "exited")?;
    check_eq!((&seen["State"]["ExitCode"], &seen["State"]["OOMKilled"]), (&json!(137), &json!(false)));
    check_eq!(seen["State"]["Pid"], 0);
    let events = eventually(Duration::from_secs(10), || {
        Ok(Some(daemon.events_of(&victim)?).filter(|events| events.contains(&"die".to_owned())))
    })?;
    check!(!events.contains(&"stop".to_owned()) && !events.contains(&"kill".to_owned()), "{events:?}");
    check_eq!(rows(daemon, &json!({ "name": [&victim] }))?.len(), 0);
    let after = rows(daemon, &json!({ "name": [&other] }))?.pop().context("the other is gone, too")?;
    check_eq!(before["Pid"], after["Pid"]);
    check!(!daemon.events_of(&other)?.contains(&"die".to_owned()), "the other ended, too");
    Ok(())
}

/// A process that is, to all appearance, another engine's monitor with a container, and one that is a virtual machine: both
/// are shown, cannot be stopped, and what they call themselves is made harmless.
fn of_other_engines(case: &Case) -> Result<()> {
    let daemon = case.daemon()?;
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let id = format!("{:064x}", u64::from(std::process::id()));
    let run = |program: &str, args: &[&str]| -> Result<Killed> {
        let path = dir.join(program);
        std::fs::copy("/bin/bash", &path)?;
        let mut command = Command::new(path);
        // A child that stays, as a container's init process does.
        command.args(["-s", "--"]).args(args).stdin(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let written = child.stdin.take().context("its input")?.write_all(b"sleep 1000 & wait\n");
        let child = Killed(child);
        written?;
        Ok(child)
    };
    let _podman = run("conmon", &["-c", &id, "-n", "we\u{1b}[31mb", "--exit-command", "/usr/bin/podman"])?;
    let _machine = run("qemu-system-mips", &["-name", "guest=vm-one,x=y", "-uuid", &id[32..]])?;
    let found = eventually(Duration::from_secs(10), || {
        let rows = rows(daemon, &json!({ "owner": ["podman", "QEMU"] }))?;
        let ours = |row: &Value| row["Id"].as_str().is_some_and(|name| id.ends_with(name));
        let rows: Vec<Value> = rows.into_iter().filter(ours).collect();
        Ok(Some(rows).filter(|rows| rows.len() == 2))
    })
    .context("not both are shown")?;
    for row in &found {
        let machine = row["Type"] == "VirtualMachine";
        check_eq!(row["Name"], if machine { "vm-one" } else { "we__31mb" });
        check_eq!((&row["ReadOnly"], &row["User"]), (&json!(true), &json!("root")));
        check!(row["Memory"].as_u64() > Some(0), "{row}");
        let command = std::fs::read_to_string(format!("/proc/{}/comm", row["Pid"]))?;
        check_eq!(command.trim(), if machine { "qemu-system-mip" } else { "sleep" });
        let path = format!("/cofferdam/compute/{}/stop", row["Id"].as_str().unwrap_or_default());
        let refused = daemon.post(&path, &Value::Null)?;
        check_eq!(refused.status, 409);
        check!(
            refused.message().contains(row["Owner"].as_str().unwrap_or_default()),
            "{}",
            refused.message()
        );
    }
    check_eq!(daemon.get("/cofferdam/compute?filters=%7B%22x%22%3A%5B%22y%22%5D%7D")?.status, 400);
    Ok(())
}

/// A process group that ends with the case.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}
