//! Published ports: from the host, from its loopback, from containers, from outside; and what stays closed.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Invocation, Outside, Test, check, check_eq, eventually, patient};
use serde_json::Value;

pub const CASES: &[Test] = &[
    Test::both("ports::published", published).with_vms(2),
    Test::both("ports::udp", udp),
    Test::both("ports::outside", outside),
    Test::both("ports::conflicts", conflicts).with_vms(2),
    Test::both("ports::daemon_killed", daemon_killed),
];

const SERVER: &str = "mkdir /w; echo served >/w/x; httpd -f -p 80 -h /w";

/// The host's port that leads to a container's.
fn host_port(inspected: &Value, port: &str) -> Result<u16> {
    let text = inspected["NetworkSettings"]["Ports"][port][0]["HostPort"].as_str();
    text.with_context(|| format!("{port} is not published: {}", inspected["NetworkSettings"]["Ports"]))?
        .parse()
        .context("a port")
}

/// `GET /x` of the server behind a port, once it answers.
fn get(address: &str, port: u16) -> Result<String> {
    let get = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((address, port))?;
        stream.set_read_timeout(Some(patient(Duration::from_secs(5))))?;
        stream.write_all(b"GET /x HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let answer =
        eventually(Duration::from_secs(30), || Ok(get().ok().filter(|text| text.contains("200 OK"))));
    let answer = answer.with_context(|| format!("nothing answers on {address}:{port}"))?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}

fn published(case: &Case) -> Result<()> {
    let args = ["-p", "80", "-p", "127.0.0.1::80", "--expose", "90", "nanoserver", "sh", "-c", SERVER];
    let server = case.detached("a", &args)?;
    let inspected = case.inspect(&server)?;
    let ports = &inspected["NetworkSettings"]["Ports"];
    let gateway = inspected["NetworkSettings"]["Gateway"].as_str().context("no gateway")?.to_owned();
    check!(ports["90/tcp"].is_null() && ports.get("90/tcp").is_some(), "{ports}");
    let port = host_port(&inspected, "80/tcp")?;
    let local = ports["80/tcp"][1]["HostPort"].as_str().unwrap_or_default().parse()?;
    check_eq!(ports["80/tcp"][1]["HostIp"], "127.0.0.1");
    check_eq!(get("127.0.0.1", port)?, "served");
    check_eq!(get("127.0.0.1", local)?, "served");
    check_eq!(get(&gateway, port)?, "served");
    // Other containers come by the host's address; so does the container itself.
    let script = format!("timeout 20 wget -qO- http://{gateway}:{port}/x");
    check_eq!(case.run(&["nanoserver", "sh", "-c", &script])?.ok()?, "served");
    check_eq!(case.shell(&server, &script)?, "served");
    // The other is the loopback address's only.
    let closed = format!("timeout 20 wget -qO- http://{gateway}:{local}/x && echo open; true");
    check_eq!(case.shell(&server, &closed)?, "");

    let lines = format!("80/tcp -> 0.0.0.0:{port}\n80/tcp -> 127.0.0.1:{local}");
    check_eq!(case.docker(&["port", &server])?.ok()?, lines);
    check_eq!(case.cofferdam(&["port", &server])?.ok()?, lines);
    check_eq!(case.cofferdam(&["port", &server, "80"])?.ok()?, format!("0.0.0.0:{port}\n127.0.0.1:{local}"));
    let filter = format!("name={server}");
    for cli in [Case::docker, Case::cofferdam] {
        let shown = cli(case, &["ps", "--filter", &filter, "--format", "{{.Ports}}"])?.ok()?;
        check!(shown.contains(&format!("0.0.0.0:{port}->80/tcp")) && shown.contains("90/tcp"), "{shown}");
    }
    let found = case.docker(&["ps", "-q", "--filter", "publish=80", "--filter", &filter])?.ok()?;
    check_eq!(found.lines().count(), 1);

    // After a stop the port is anybody's, and nothing is left in the table.
    case.docker(&["stop", "-t", "0", &server])?.ok()?;
    drop(TcpListener::bind(("0.0.0.0", port)).context("the port is still taken")?);
    check_eq!(case.docker(&["port", &server])?.ok()?, "");
    let table = Invocation::new("nft", &["list", "ruleset"]).ok()?;
    check!(!table.contains(&format!("tcp . {port} :")), "left in the table:\n{table}");
    case.docker(&["rm", &server])?.ok()?;

    // -P takes what is exposed.
    let all = case.detached("b", &["-P", "--expose", "80", "nanoserver", "sh", "-c", SERVER])?;
    check_eq!(get("127.0.0.1", host_port(&case.inspect(&all)?, "80/tcp")?)?, "served");
    Ok(())
}

fn udp(case: &Case) -> Result<()> {
    let program = case.static_program("udp_echo", include_str!("udp_echo.c"))?;
    let bind = format!("{}:/udp_echo:ro", program.display());
    let args = ["-v", &bind, "-p", "5300/udp", "nanoserver", "/udp_echo"];
    let server = case.detached("a", &args)?;
    let port = host_port(&case.inspect(&server)?, "5300/udp")?;
    eventually(Duration::from_secs(30), || {
        // A socket of its own each time: an answer belongs to its question.
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(patient(Duration::from_secs(1))))?;
        socket.send_to(b"echo", ("127.0.0.1", port))?;
        let mut answer = [0; 16];
        Ok(socket.recv(&mut answer).ok().filter(|&length| answer[..length] == *b"echo").map(drop))
    })
    .context("no echo")
}

/// From another machine: the published port is open, and the way around it is not.
fn outside(case: &Case) -> Result<()> {
    let server = case.detached("a", &["-p", "80", "nanoserver", "sh", "-c", SERVER])?;
    let inspected = case.inspect(&server)?;
    let settings = &inspected["NetworkSettings"];
    let (address, port) =
        (settings["IPAddress"].as_str().context("no address")?, host_port(&inspected, "80/tcp")?);
    get("127.0.0.1", port)?;
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let outside = Outside::start(&dir).context("set up a network outside")?;
    let fetch = |address: &str, port: u16| {
        let url = format!("http://{address}:{port}/x");
        outside
            .command(&["busybox", "timeout", "8", "busybox", "wget", "-qO-", &url])
            .limit(Duration::from_secs(30))
    };
    check_eq!(fetch(Outside::HOST, port).ok()?, "served");
    outside.command(&["ip", "route", "add", &format!("{address}/32"), "via", Outside::HOST]).ok()?;
    let direct = fetch(address, 80).output()?;
    check!(!direct.stdout.contains("served"), "the container is reached past its published port");
    Ok(())
}

fn conflicts(case: &Case) -> Result<()> {
    let holder = case.detached("a", &["-p", "127.0.0.1::80", "nanoserver", "sleep", "1000"])?;
    let port = host_port(&case.inspect(&holder)?, "80/tcp")?;
    let binding = format!("{port}:80");
    let late = case.name("b");
    let isolation = case.isolation();
    let args = ["run", "--name", &late, &isolation, "-p", &binding, "nanoserver", "true"];
    let error = case.docker(&args)?.fails(125)?;
    let words = format!("Bind for 0.0.0.0:{port} failed: port is already allocated");
    check!(error.contains(&words) && error.contains(&holder), "{error}");
    check_eq!(case.inspect(&late)?["State"]["Status"], "created");
    // It starts once the port is free.
    case.docker(&["rm", "-f", &holder])?.ok()?;
    case.docker(&["start", &late])?.ok()?;
    case.becomes(&late, "exited")?;

    let other = TcpListener::bind("127.0.0.1:0")?;
    let binding = format!("127.0.0.1:{}:80", other.local_addr()?.port());
    let error = case.run(&["--rm", "-p", &binding, "nanoserver", "true"])?.fails(125)?;
    let own = std::process::id().to_string();
    check!(error.contains("address already in use") && error.contains(&own), "{error}");
    let error = case.run(&["--rm", "-p", "198.51.100.77:0:80", "nanoserver", "true"])?.fails(125)?;
    check!(error.contains("cannot assign requested address"), "{error}");
    Ok(())
}

/// The port leads to the container while no daemon runs and after the next has started; it is closed for a container
/// that ended in between.
fn daemon_killed(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "ports", &[])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    let args = ["run", "-d", "--name", "web", &isolation, "-p", "80", "nanoserver", "sh", "-c", SERVER];
    daemon.docker(&args).ok()?;
    let port = host_port(&daemon.inspect("web")?, "80/tcp")?;
    check_eq!(get("127.0.0.1", port)?, "served");
    daemon.kill()?;
    check_eq!(get("127.0.0.1", port)?, "served");
    daemon.launch(&[])?;
    check_eq!(get("127.0.0.1", port)?, "served");
    check_eq!(host_port(&daemon.inspect("web")?, "80/tcp")?, port);
    check!(TcpListener::bind(("127.0.0.1", port)).is_err(), "nobody holds the port any more");
    let pid = daemon.inspect("web")?["State"]["Pid"].to_string();
    daemon.kill()?;
    Invocation::new("kill", &["-9", &pid]).ok()?;
    daemon.launch(&[])?;
    eventually(Duration::from_secs(20), || {
        Ok(Some(()).filter(|()| TcpListener::bind(("0.0.0.0", port)).is_ok()))
    })
    .context("the port of an ended container is still taken")?;
    let table = Invocation::new("nft", &["list", "ruleset"]).ok()?;
    check!(!table.contains(&format!("tcp . {port} :")), "left in the table:\n{table}");
    daemon.docker(&["rm", "-f", "web"]).ok()?;
    daemon.remove_everything()
}
