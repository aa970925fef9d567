//! `logs` and its flags.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Invocation, Test, check, check_eq, eventually};
use serde_json::{Value, json};

pub const CASES: &[Test] = &[
    Test::both("logs::flags", flags),
    Test::both("logs::much_output", much_output),
    Test::both("logs::rotation", rotation),
    Test::both("logs::local", local),
    Test::both("logs::following_over_rotations", following_over_rotations),
    Test::both("logs::shim_killed", shim_killed),
    Test::both("logs::journal", journal),
    Test::engine("logs::drivers_and_options", drivers_and_options),
    Test::engine("logs::daemons_defaults", daemons_defaults),
];

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

/// The directory of a container's own data.
fn data(case: &Case, name: &str) -> Result<PathBuf> {
    let id = case.inspect(name)?["Id"].as_str().context("no ID")?.to_owned();
    Ok(case.daemon()?.data_root().join("containers").join(id))
}

/// The names below a directory that begin like this, sorted.
fn names(directory: &Path, begin: &str) -> Result<Vec<String>> {
    let entries =
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = entries.collect::<Result<_>>()?;
    let mut names: Vec<_> = names.into_iter().filter(|name| name.starts_with(begin)).collect();
    names.sort();
    Ok(names)
}

fn numbers(numbers: std::ops::RangeInclusive<u32>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join("\n")
}

/// `json-file` with all its options: files are full, compressed, no more than there may be, and read as one.
fn rotation(case: &Case) -> Result<()> {
    let script = "seq 1 400; echo end >&2";
    let (name, isolation) = (case.name("a"), case.isolation());
    let args = [
        "run",
        "--name",
        &name,
        &isolation,
        "--log-opt=max-size=5k",
        "--log-opt=max-file=4",
        "--log-opt=compress=true",
        "--log-opt=labels=tier,missing",
        "--log-opt=env-regex=^OS$",
        "--log-opt=tag={{.Name}}/{{.ID}}",
        "-l",
        "tier=web",
        "-e",
        "OS=linux",
        "nanoserver",
        "sh",
        "-c",
        script,
    ];
    case.docker(&args)?.ok()?;
    let seen = case.inspect(&name)?;
    let path = PathBuf::from(seen["LogPath"].as_str().context("no path")?);
    let (directory, file) = (path.parent().context("no directory")?, path.file_name().context("no name")?);
    let file = file.to_string_lossy().into_owned();
    // The last file may have been left as it was when the shim ended.
    let found: Vec<_> =
        names(directory, &file)?.into_iter().map(|name| name.trim_end_matches(".gz").to_owned()).collect();
    check_eq!(found, [file.clone(), format!("{file}.1"), format!("{file}.2"), format!("{file}.3")]);
    check!(names(directory, &file)?.iter().any(|name| name.ends_with(".gz")), "nothing is compressed");
    check!(std::fs::metadata(&path)?.len() < 5300, "the file is too long");

    // 5 kB hold some 25 such lines; 400 are 16 files, of which the last 4 are left.
    let read = case.docker(&["logs", &name])?.output()?;
    check_eq!(read.stderr, "end\n");
    let first: u32 = read.stdout.lines().next().unwrap_or_default().parse()?;
    check!((280..380).contains(&first), "the first line is {first}");
    check_eq!(read.stdout.trim_end(), numbers(first..=400));
    let tail = case.docker(&["logs", "--tail", "60", &name])?.output()?;
    check_eq!(tail.stdout.trim_end(), numbers(342..=400));
    let details = case.cofferdam(&["logs", "--details", "-n", "1", &name])?.output()?;
    let id = &seen["Id"].as_str().unwrap_or_default()[..12];
    check_eq!(details.stderr, format!("OS=linux,tag={name}%2F{id},tier=web end\n"));
    let last = std::fs::read_to_string(&path)?;
    let last: Value = serde_json::from_str(last.lines().last().unwrap_or_default())?;
    check_eq!(last["attrs"], json!({ "OS": "linux", "tag": format!("{name}/{id}"), "tier": "web" }));
    Ok(())
}

/// `local`: not JSON, rotated by itself, read back with every flag; a second run continues it.
fn local(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let args = [
        "run",
        "--name",
        &name,
        &isolation,
        "--log-driver=local",
        "--log-opt=max-size=2k",
        "nanoserver",
        "sh",
        "-c",
        "seq 1 100; echo err >&2; sleep 0.3; printf unfinished",
    ];
    case.cofferdam(&args)?.ok()?;
    let seen = case.inspect(&name)?;
    check_eq!((&seen["LogPath"], &seen["HostConfig"]["LogConfig"]["Type"]), (&json!(""), &json!("local")));
    let directory = data(case, &name)?.join("local-logs");
    let files = names(&directory, "container.log")?;
    check!(files.len() > 1 && files.len() <= 5, "{files:?}");
    let read = case.docker(&["logs", &name])?.output()?;
    check_eq!((read.stdout, read.stderr.as_str()), (format!("{}\nunfinished", numbers(1..=100)), "err\n"));
    check_eq!(case.docker(&["logs", "--tail", "2", &name])?.output()?.stdout, "unfinished");
    let marked = case.docker(&["logs", "-t", "--tail", "1", &name])?.ok()?;
    let time = marked.split(' ').next().unwrap_or_default();
    check_eq!(case.docker(&["logs", "--since", time, &name])?.ok()?, "unfinished");
    case.docker(&["start", "-a", &name])?.ok()?;
    let read = case.docker(&["logs", "--tail", "150", &name])?.output()?.stdout;
    check!(read.contains("unfinished1\n2\n") && read.ends_with("100\nunfinished"), "{read}");
    Ok(())
}

/// Whoever follows sees every line once, while the file that it reads is renamed, compressed and removed.
fn following_over_rotations(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); seq $((i*50-49)) $((i*50)); sleep 0.02; done";
    let args = [
        "create",
        "--name",
        &name,
        &isolation,
        "--log-opt=max-size=6k",
        "--log-opt=max-file=200",
        "--log-opt=compress=true",
        "nanoserver",
        "sh",
        "-c",
        script,
    ];
    case.docker(&args)?.ok()?;
    case.docker(&["start", &name])?.ok()?;
    let follower = case.docker(&["logs", "-f", &name])?.spawn()?;
    check_eq!(follower.finish(Duration::from_secs(60))?.ok()?, numbers(1..=3000));
    check_eq!(case.docker(&["logs", &name])?.ok()?, numbers(1..=3000));
    Ok(())
}

/// `kill -9` of the process that writes and rotates: the log stays readable, and goes on with the next start.
fn shim_killed(case: &Case) -> Result<()> {
    let script = "cat /count 2>/dev/null; i=0; while :; do i=$((i+1)); echo line $i; done";
    let (name, isolation) = (case.name("a"), case.isolation());
    let args = [
        "create",
        "--name",
        &name,
        &isolation,
        "--log-driver=local",
        "--log-opt=max-size=20k",
        "--log-opt=max-file=3",
        "nanoserver",
        "sh",
        "-c",
        script,
    ];
    case.docker(&args)?.ok()?;
    let id = case.inspect(&name)?["Id"].as_str().context("no ID")?.to_owned();
    for wait in [30, 130, 270] {
        case.docker(&["start", &name])?.ok()?;
        // Whatever the client is late for, another hundred lines come.
        case.beside(&["logs", "-f", "--tail", "0", &name])?.expect("00\n")?;
        std::thread::sleep(Duration::from_millis(wait));
        let pid = case.daemon()?.exec_root().join("containers").join(&id).join("shim.pid");
        Invocation::new("kill", &["-9", std::fs::read_to_string(pid)?.trim()]).ok()?;
        case.becomes(&name, "exited")?;
        let read = case.docker(&["logs", &name])?.ok()?;
        let mut lines = read.lines().peekable();
        let mut count = 0;
        while let Some(line) = lines.next() {
            let number = |line: &str| line.strip_prefix("line ").and_then(|text| text.parse::<u64>().ok());
            let this = number(line).with_context(|| format!("a torn line {line:?}"))?;
            let next = lines.peek().map(|line| number(line));
            // The next line, or the first one of the next run.
            check!(
                matches!(next, None | Some(Some(1))) || next == Some(Some(this + 1)),
                "after {line:?} comes {next:?}"
            );
            count += 1;
        }
        check!(count > 100, "only {count} lines");
        let files = names(&data(case, &name)?.join("local-logs"), "container.log")?;
        let numbered = files.iter().filter(|file| !file.ends_with(".tmp")).count();
        check!((1..=4).contains(&numbered), "{files:?}");
    }
    Ok(())
}

/// `journald`, with a journal of the case's own: every line with its fields; and none where there is no journal.
fn journal(case: &Case) -> Result<()> {
    let socket = case.directory()?.join("journal");
    std::fs::create_dir_all(case.directory()?)?;
    let daemon = Daemon::start(case.host, "journal", &["--journald-socket", &socket.to_string_lossy()])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    let args = [
        "run",
        "--name",
        "logged",
        &isolation,
        "--log-driver=journald",
        "--log-opt=labels=com.example.tier",
        "-l",
        "com.example.tier=web",
        "nanoserver",
        "sh",
        "-c",
        "echo out; sleep 0.3; echo err >&2",
    ];
    let error = daemon.docker(&args).fails(125)?;
    check!(
        error.contains("failed to initialize logging driver: journald is not enabled on this host"),
        "{error}"
    );
    daemon.docker(&["rm", "logged"]).ok()?;

    let journal = std::os::unix::net::UnixDatagram::bind(&socket)?;
    journal.set_read_timeout(Some(Duration::from_secs(30)))?;
    daemon.docker(&args).ok()?;
    let receive = || -> Result<String> {
        let mut buffer = vec![0; 64 << 10];
        let size = journal.recv(&mut buffer).context("nothing came into the journal")?;
        Ok(String::from_utf8(buffer[..size].to_vec())?)
    };
    let id = daemon.inspect("logged")?["Id"].as_str().context("no ID")?.to_owned();
    for (text, priority) in [("out", 6), ("err", 3)] {
        let message = receive()?;
        for field in [
            format!("MESSAGE={text}"),
            format!("PRIORITY={priority}"),
            format!("CONTAINER_ID_FULL={id}"),
            format!("CONTAINER_ID={}", &id[..12]),
            format!("SYSLOG_IDENTIFIER={}", &id[..12]),
            "CONTAINER_NAME=logged".to_owned(),
            "IMAGE_NAME=nanoserver".to_owned(),
            "COM_EXAMPLE_TIER=web".to_owned(),
        ] {
            check!(message.lines().any(|line| line == field), "no {field} in {message}");
        }
    }
    // What is in the journal only cannot be read here; what is kept beside it can.
    check_eq!(daemon.docker(&["logs", "logged"]).output()?.stdout, "out\n");
    daemon.docker(&["rm", "logged"]).ok()?;
    let args: Vec<_> = args
        .iter()
        .copied()
        .map(|word| if word.starts_with("--log-opt") { "--log-opt=cache-disabled=true" } else { word })
        .collect();
    daemon.docker(&args).ok()?;
    check!(receive()?.contains("MESSAGE=out"), "nothing came without a cache");
    let error = daemon.docker(&["logs", "logged"]).fails(1)?;
    check!(error.contains("configured logging driver does not support reading"), "{error}");
    daemon.docker(&["rm", "logged"]).ok()?;
    // A message that waits to be read holds its sender's network namespace.
    drop(journal);
    daemon.remove_everything()
}

/// What there is not is refused in Docker's words, before anything is made.
fn drivers_and_options(case: &Case) -> Result<()> {
    for (flags, text) in [
        (&["--log-driver=paper"][..], "logger: no log driver named 'paper' is registered"),
        (&["--log-opt=ink=red"], "unknown log opt 'ink' for json-file log driver"),
        (&["--log-driver=local", "--log-opt=ink=red"], "unknown log opt 'ink' for log driver local"),
        (&["--log-opt=max-size=much"], "failed to initialize logging driver: invalid size: 'much'"),
        (&["--log-opt=max-file=0"], "max-file cannot be less than 1"),
        (&["--log-opt=tag={{.Nonsense"], "failed to initialize logging driver: template"),
    ] {
        let name = case.name("refused");
        let error =
            case.docker(&[&["run", "--name", &name], flags, &["nanoserver", "true"]].concat())?.fails(125)?;
        check!(error.contains(text), "{error}");
        check_eq!(case.daemon()?.get(&format!("/containers/{name}/json"))?.status, 404);
    }
    let name = case.name("none");
    case.docker(&["run", "--name", &name, "--log-driver=none", "nanoserver", "echo", "unheard"])?.ok()?;
    let error = case.docker(&["logs", &name])?.fails(1)?;
    check!(error.contains("configured logging driver does not support reading"), "{error}");
    check_eq!(case.inspect(&name)?["LogPath"], "");
    check_eq!(names(&data(case, &name)?, "")?.iter().filter(|name| name.contains("log")).count(), 0);
    let info = case.daemon()?.get("/info")?.json()?;
    check_eq!(info["LoggingDriver"], "json-file");
    check_eq!(info["Plugins"]["Log"], json!(["journald", "json-file", "local"]));
    Ok(())
}

/// The daemon's own defaults, by its file: they go with their driver.
fn daemons_defaults(case: &Case) -> Result<()> {
    let directory = case.directory()?;
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("daemon.json");
    std::fs::write(&file, r#"{"log-driver": "local", "log-opts": {"max-file": "3", "tag": "t"}}"#)?;
    let daemon = Daemon::start(case.host, "defaults", &["--config-file", &file.to_string_lossy()])?;
    check_eq!(daemon.docker(&["info", "-f", "{{.LoggingDriver}}"]).ok()?, "local");
    daemon.install_nanoserver()?;
    let config = |flags: &[&str]| -> Result<Value> {
        let name = daemon.docker(&[&["create"], flags, &["nanoserver"]].concat()).ok()?;
        let seen = daemon.inspect(&name)?["HostConfig"]["LogConfig"].take();
        daemon.docker(&["rm", &name]).ok()?;
        Ok(seen)
    };
    check_eq!(config(&[])?, json!({ "Type": "local", "Config": { "max-file": "3", "tag": "t" } }));
    check_eq!(
        config(&["--log-opt=max-file=7"])?,
        json!({ "Type": "local", "Config": { "max-file": "7", "tag": "t" } })
    );
    check_eq!(config(&["--log-driver=json-file"])?, json!({ "Type": "json-file", "Config": {} }));
    daemon.remove_everything()?;

    std::fs::write(&file, r#"{"log-opts": {"ink": "red"}}"#)?;
    let daemon = Daemon::prepare(case.host, "wrong", &["--config-file", &file.to_string_lossy()])?;
    let mut child = daemon.command(&[])?.spawn()?;
    let status = eventually(Duration::from_secs(20), || Ok(child.try_wait()?))?;
    check!(!status.success(), "a wrong option was taken");
    check!(
        daemon.log().contains("failed to set log opts: unknown log opt 'ink' for json-file log driver"),
        "{}",
        daemon.log()
    );
    Ok(())
}
