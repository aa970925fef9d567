//! Bad input: the right status, a message that names the thing, and nothing half-made.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Result;
use cofferdam_tests::{Case, Test, check, check_eq, raw};
use serde_json::json;

pub const CASES: &[Test] = &[
    Test::engine("bad_input::api", api),
    Test::engine("bad_input::command_lines", command_lines),
    Test::engine("bad_input::bytes", bytes),
    Test::engine("bad_input::huge_headers", huge_headers),
    Test::engine("bad_input::clients_that_go_away", clients_that_go_away),
    Test::both("bad_input::client_killed_in_the_middle_of_run", client_killed_in_the_middle_of_run),
    Test::engine("bad_input::daemon_flags", daemon_flags),
];

/// Status and message of each request; a Docker client matches on both.
fn api(case: &Case) -> Result<()> {
    let daemon = case.daemon()?;
    let name = case.name("taken");
    case.docker(&["create", "--name", &name, "nanoserver"])?.ok()?;
    let create = |extra: serde_json::Value| {
        let mut body = json!({"Image": "nanoserver"});
        for (key, value) in extra.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        body
    };
    let posts = [
        ("/containers/create", json!({"Image": "no-such-image"}), 404, "No such image: no-such-image:latest"),
        ("/containers/create", json!({"Image": "UPPER CASE"}), 400, "invalid reference format"),
        ("/containers/create", create(json!({"HostConfig": {"Isolation": "strange"}})), 400, "strange"),
        (
            "/containers/create",
            create(json!({"HostConfig": {"Isolation": "hyperv", "NetworkMode": "host"}})),
            400,
            "host",
        ),
        (
            "/containers/create",
            create(json!({"HostConfig": {"Binds": ["relative/path:/x"]}})),
            400,
            "relative/path",
        ),
        ("/containers/create", create(json!({"HostConfig": {"Binds": ["/a:/b:nonsense"]}})), 400, "nonsense"),
        (
            "/containers/create",
            create(
                json!({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/x"}]}}),
            ),
            400,
            "/no/such",
        ),
        (
            "/containers/create",
            create(json!({"HostConfig": {"RestartPolicy": {"Name": "sometimes"}}})),
            400,
            "sometimes",
        ),
        ("/containers/create", create(json!({"HostConfig": {"Memory": 1024}})), 400, "memory"),
        (
            "/containers/create",
            create(json!({"HostConfig": {"NetworkMode": "no-such-net"}})),
            400,
            "no-such-net",
        ),
        ("/containers/create?name=-bad-", create(json!({})), 400, "Invalid container name"),
        (&format!("/containers/create?name={name}") as &str, create(json!({})), 409, "is already in use"),
        ("/containers/no-such/start", json!({}), 404, "No such container: no-such"),
        ("/containers/no-such/exec", json!({"Cmd": ["x"]}), 404, "No such container: no-such"),
        ("/exec/no-such/start", json!({}), 404, "No such exec"),
        (&format!("/containers/{name}/kill"), json!({}), 409, "is not running"),
        (&format!("/containers/{name}/pause"), json!({}), 409, "is not running"),
        (&format!("/containers/{name}/kill?signal=NONSENSE"), json!({}), 400, "signal"),
        (&format!("/containers/{name}/exec"), json!({"Cmd": ["x"]}), 409, "is not running"),
        (&format!("/containers/{name}/rename?name=../x"), json!({}), 400, "Invalid container name"),
        ("/images/no-such/tag?repo=x", json!({}), 404, "No such image"),
    ];
    for (path, body, status, text) in posts {
        let answer = daemon.post(path, &body)?;
        check_eq!(answer.status, status, "POST {path} {body}: {}", answer.text());
        let message = answer.message();
        check!(
            message.to_lowercase().contains(&text.to_lowercase()),
            "POST {path} {body}: {message:?} lacks {text:?}"
        );
    }
    let gets = [
        ("/containers/no-such/json", 404, "No such container: no-such"),
        ("/images/no-such/json", 404, "No such image"),
        ("/no/such/page", 404, "page not found"),
        ("/v1.10/info", 400, "too old"),
        ("/v1.999/info", 400, "too new"),
        ("/containers/json?filters=not-json", 400, "filter"),
        ("/containers/json?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D", 400, "nonsense"),
        ("/containers/json?limit=many", 400, "many"),
    ];
    for (path, status, text) in gets {
        let answer = daemon.get(path)?;
        check_eq!(answer.status, status, "GET {path}: {}", answer.text());
        check!(answer.message().contains(text), "GET {path}: {:?} lacks {text:?}", answer.message());
    }
    check_eq!(case.docker(&["ps", "-aq", "--filter", "name=-bad-"])?.ok()?, "");
    Ok(())
}

/// The same through command lines: 125 and a sentence.
fn command_lines(case: &Case) -> Result<()> {
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", "--rm", "--isolation=strange", "nanoserver", "true"], 125, "strange"),
        (&["run", "--rm", "--no-such-flag", "nanoserver"], 125, "no-such-flag"),
        (&["run", "--rm", "--network", "no-such-net", "nanoserver", "true"], 125, "no-such-net"),
        (&["run", "--rm", "-v", "a:b:c:d", "nanoserver", "true"], 125, "a:b:c:d"),
        (&["start", "no-such"], 1, "no-such"),
        (&["rm", "no-such"], 1, "no-such"),
        (&["exec", "no-such", "true"], 1, "no-such"),
        (&["logs", "no-such"], 1, "no-such"),
    ];
    for (args, code, text) in cases {
        for (client, invocation) in [("docker", case.docker(args)?), ("cofferdam", case.cofferdam(args)?)] {
            let seen = invocation.output()?;
            check_eq!(seen.code, *code, "{client} {}: {}", args.join(" "), seen.stderr);
            check!(
                seen.stderr.contains(text),
                "{client} {}: {:?} lacks {text:?}",
                args.join(" "),
                seen.stderr
            );
        }
    }
    // Our own says what to do next.
    let error = case.cofferdam(&["run", "--rm", "--isolation=strange", "nanoserver", "true"])?.fails(125)?;
    check!(error.contains("hyperv"), "the levels there are, are not named: {error}");
    Ok(())
}

/// Bodies and requests that are not what they should be.
fn bytes(case: &Case) -> Result<()> {
    let daemon = case.daemon()?;
    let socket = daemon.socket();
    let post = |body: &[u8]| cofferdam_tests::request(&socket, "POST", "/containers/create", Some(body));
    for body in [
        &b"not json"[..],
        b"",
        b"[1,2,3]",
        b"{\"Image\": 5}",
        b"{\"Image\":\"nanoserver\"} {",
        &[0xff; 100],
        b"null",
    ] {
        let answer = post(body)?;
        check_eq!(answer.status, 400, "{:?}: {}", String::from_utf8_lossy(body), answer.text());
        check!(!answer.message().is_empty(), "{:?}: no message", String::from_utf8_lossy(body));
    }
    let deep = "[".repeat(100_000);
    check_eq!(post(deep.as_bytes())?.status, 400, "deep nesting");
    let large = format!("{{\"Image\":\"{}\"}}", "x".repeat(20 << 20));
    check!((400..500).contains(&post(large.as_bytes())?.status), "20 MB of JSON were taken");
    for nonsense in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n",
    ] {
        if let Ok(answer) = raw(&socket, nonsense) {
            check!((400..=505).contains(&answer.status), "{nonsense:?}: {}", answer.status);
        }
    }
    check_eq!(daemon.get("/_ping")?.status, 200);
    Ok(())
}

/// A hundred megabytes of headers are refused early and cost the daemon no memory.
fn huge_headers(case: &Case) -> Result<()> {
    let daemon = case.daemon()?;
    let mut stream = UnixStream::connect(daemon.socket())?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /info HTTP/1.1\r\nHost: x\r\n")?;
    let header = format!("X-Filler: {}\r\n", "a".repeat(1 << 20));
    let mut sent = 0;
    while sent < 100 && stream.write_all(header.as_bytes()).is_ok() {
        sent += 1;
    }
    let mut answer = [0; 64];
    let count = stream.read(&mut answer).unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer[..count]);
    check!(answer.starts_with("HTTP/1.1 431"), "after {sent} MB of headers the daemon said {answer:?}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()?))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 =
        peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default();
    check!(peak < 100 << 10, "the daemon grew to {peak} kB");
    check_eq!(daemon.get("/_ping")?.status, 200);
    Ok(())
}

/// Clients that vanish in the middle of a stream, and many of them, harm nobody.
fn clients_that_go_away(case: &Case) -> Result<()> {
    let daemon = case.daemon()?;
    let before = descriptors(daemon.pid()?)?;
    for _ in 0..50 {
        for path in ["/events", "/containers/json?all=1", "/images/json"] {
            let mut stream = UnixStream::connect(daemon.socket())?;
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())?;
        }
        // An upload that stops in the middle.
        let mut stream = UnixStream::connect(daemon.socket())?;
        stream.write_all(
            b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome bytes",
        )?;
    }
    check_eq!(daemon.get("/_ping")?.status, 200);
    let settled = cofferdam_tests::eventually(Duration::from_secs(20), || {
        Ok(Some(descriptors(daemon.pid()?)?).filter(|&now| now < before + 60))
    });
    check!(settled.is_ok(), "{before} open files became {}", descriptors(daemon.pid()?)?);
    Ok(())
}

fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// The client of `run --rm` is killed; the container goes on, can be found and removed.
fn client_killed_in_the_middle_of_run(case: &Case) -> Result<()> {
    let (name, isolation) = (case.name("a"), case.isolation());
    let args = [
        "run",
        "--rm",
        "-i",
        "--name",
        &name,
        &isolation,
        "nanoserver",
        "sh",
        "-c",
        "echo up; while :; do echo x; sleep 0.01; done",
    ];
    let client = case.docker(&args)?.spawn_with_stdin()?;
    client.expect("up")?;
    client.kill();
    std::thread::sleep(Duration::from_millis(500));
    check_eq!(case.inspect(&name)?["State"]["Running"], true);
    check!(case.docker(&["logs", "--tail", "1", &name])?.ok()?.contains('x'), "it no longer writes");
    case.docker(&["kill", &name])?.ok()?;
    cofferdam_tests::eventually(Duration::from_secs(30), || {
        let answer = case.daemon()?.get(&format!("/containers/{name}/json"))?;
        Ok((answer.status == 404).then_some(()))
    })
}

/// The daemon refuses bad flags with a sentence on standard error.
fn daemon_flags(case: &Case) -> Result<()> {
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let config = dir.join("daemon.json");
    std::fs::write(&config, "{ not json")?;
    let config = config.to_string_lossy();
    let roots = [format!("--data-root={}/d", dir.display()), format!("--exec-root={}/e", dir.display())];
    let socket = format!("--host=unix://{}/s", dir.display());
    for (flags, text) in [
        (&["--default-isolation", "strange"][..], "strange"),
        (&["--host", "tcp://0.0.0.0:23761"], "TLS"),
        (&["--host", "ftp://x"], "ftp"),
        (&["--config-file", &config], "daemon.json"),
        (&["--log-level", "strange"], "strange"),
        (&["--no-such-flag"], "no-such-flag"),
    ] {
        let args: Vec<&str> =
            roots.iter().map(String::as_str).chain([socket.as_str()]).chain(flags.iter().copied()).collect();
        let invocation = cofferdam_tests::Invocation::new(case.host.binary("cofferdamd"), &args);
        let seen = invocation.limit(Duration::from_secs(20)).output()?;
        check!(seen.code != 0, "cofferdamd took {}", flags.join(" "));
        check!(
            seen.stderr.to_lowercase().contains(&text.to_lowercase()),
            "{}: {:?} lacks {text:?}",
            flags.join(" "),
            seen.stderr
        );
    }
    Ok(())
}
