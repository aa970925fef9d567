//! Containers in several networks, also joined and left while they run.

use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Invocation, Level, Test, check, check_eq, eventually};

use crate::networks::{FETCH, Made, ONCE};

pub const CASES: &[Test] = &[
    Test::both("connect::several", several).with_vms(2),
    Test::both("connect::while_it_runs", while_it_runs).with_vms(2),
    Test::both("connect::without_the_first", without_the_first).with_vms(2),
    Test::both("connect::published_port_follows", published_port_follows),
    Test::both("connect::at_rest", at_rest),
    Test::both("connect::refusals", refusals),
    Test::both("connect::ipv6", ipv6).with_vms(2),
    Test::both("connect::links", links).with_vms(2),
    Test::both("connect::anothers_network", anothers_network),
    Test::both("connect::macvlan", macvlan).with_vms(2),
    Test::both("connect::daemon_killed", daemon_killed),
];

fn fetched(case: &Case, container: &str, target: &str) -> Result<String> {
    case.shell(container, &format!("set -- {target}; {FETCH}"))
}

fn sleeper(case: &Case, suffix: &str, flags: &[&str]) -> Result<String> {
    case.detached(suffix, &[flags, &["nanoserver", "sleep", "1000"]].concat())
}

/// Made with two networks, a container reaches both, and finds the names of both.
fn several(case: &Case) -> Result<()> {
    let (one, two) = (Made::new(case, "se one", &[])?, Made::new(case, "se two", &[])?);
    let (first, second) = (one.server("a", &[])?, two.server("b", &["--network-alias", "second"])?);
    let name = case.name("c");
    let level = case.isolation();
    let args = ["create", "--name", &name, &level, "--network", &one.name, "--network", &two.name];
    case.cofferdam(&[&args[..], &["nanoserver", "sleep", "1000"]].concat())?.ok()?;
    case.docker(&["start", &name])?.ok()?;
    let seen = case.shell(&name, "ip -4 -o address; ip route")?;
    for (interface, network) in [("eth0", &one), ("eth1", &two)] {
        check!(seen.contains(&format!("{interface}    inet {}", network.address(&name)?)), "{seen}");
    }
    check!(seen.contains(&format!("default via {} dev eth0", one.gateway()?)), "{seen}");
    check_eq!(fetched(case, &name, &first)?, "served");
    check_eq!(fetched(case, &name, "second")?, "served");
    check_eq!(fetched(case, &name, &two.address(&second)?)?, "served");
    let hosts = case.shell(&name, "cat /etc/hosts")?;
    check!(hosts.contains(&one.address(&name)?) && hosts.contains(&two.address(&name)?), "{hosts}");
    // And it is still there after another start.
    case.docker(&["restart", "-t", "0", &name])?.ok()?;
    check_eq!(fetched(case, &name, "second")?, "served");
    Ok(())
}

/// A running container joins a network and leaves it again.
fn while_it_runs(case: &Case) -> Result<()> {
    let made = Made::new(case, "wr", &["--subnet", &subnet(case, 3)])?;
    let server = made.server("a", &[])?;
    let address = made.address(&server)?;
    let client = sleeper(case, "b", &[])?;
    let once = |target: &str| case.shell(&client, &format!("set -- {target}; {ONCE}"));
    check_eq!(once(&address)?, "out of reach");
    let before = case.shell(&client, "cat /etc/resolv.conf")?;

    let ip = subnet(case, 3).replace("0/24", "77");
    case.cofferdam(&["network", "connect", "--ip", &ip, "--alias", "me", &made.name, &client])?.ok()?;
    check_eq!(fetched(case, &client, &server)?, "served");
    check_eq!(made.address(&client)?, ip);
    let seen = case.shell(&client, "ip -4 -o address show eth1; ip route; cat /etc/hosts")?;
    check!(seen.contains(&format!("inet {ip}/24")) && seen.contains("dev eth0"), "{seen}");
    check!(seen.contains(&format!("{ip}\t")), "not in /etc/hosts: {seen}");
    let resolver = made.gateway()?;
    check_eq!(case.shell(&client, "cat /etc/resolv.conf")?.contains(&format!("nameserver {resolver}")), true);
    check_eq!(made.inspect()?["Containers"].as_object().map(serde_json::Map::len), Some(2));
    let error = case.docker(&["network", "connect", &made.name, &client])?.fails(1)?;
    check!(error.contains("already exists in network"), "{error}");

    case.docker(&["network", "disconnect", &made.name, &client])?.ok()?;
    check_eq!(once(&address)?, "out of reach");
    check_eq!(case.shell(&client, "ip -o link | grep -c eth1 || true")?, "0");
    check_eq!(case.shell(&client, "cat /etc/resolv.conf")?, before);
    // The address is free, and a file that the container has changed stays as it is.
    case.shell(&client, "echo 192.0.2.9 mine >>/etc/hosts")?;
    case.docker(&["network", "connect", "--ip", &ip, &made.name, &client])?.ok()?;
    check!(case.shell(&client, "cat /etc/hosts")?.contains("192.0.2.9 mine"), "the container's line is gone");
    check_eq!(fetched(case, &client, &server)?, "served");
    let events =
        case.docker(&["events", "--since", "1h", "--until", "0s", "--filter", "type=network"])?.ok()?;
    for action in ["connect", "disconnect"] {
        let line = events.lines().find(|line| {
            line.contains(&format!("network {action} ")) && line.contains(&format!("name={}", made.name))
        });
        check!(line.is_some(), "no event {action} in:\n{events}");
    }
    Ok(())
}

/// A subnet of this case and level alone.
fn subnet(case: &Case, number: u8) -> String {
    let level = if case.level == Level::Process { 0 } else { 100 };
    format!("10.216.{}.0/24", level + number)
}

/// The network that a container began with can be left like any other, and joined again.
fn without_the_first(case: &Case) -> Result<()> {
    let made = Made::new(case, "wf", &[])?;
    let server = made.server("a", &["-p", "127.0.0.1::80"])?;
    let client = sleeper(case, "b", &[])?;
    case.docker(&["network", "connect", &made.name, &client])?.ok()?;
    case.docker(&["network", "disconnect", "bridge", &client])?.ok()?;
    check_eq!(fetched(case, &client, &server)?, "served");
    let route = case.shell(&client, "ip route")?;
    check!(route.contains(&format!("default via {} dev eth1", made.gateway()?)), "{route}");
    check_eq!(case.shell(&client, "ip -4 -o address show eth0 2>/dev/null | wc -l")?, "0");

    case.docker(&["network", "disconnect", &made.name, &client])?.ok()?;
    check_eq!(case.shell(&client, "ip route | wc -l")?, "0");
    case.docker(&["network", "connect", &made.name, &client])?.ok()?;
    check_eq!(fetched(case, &client, &server)?, "served");
    case.docker(&["network", "connect", "bridge", &client])?.ok()?;
    let seen = case.inspect(&client)?;
    check!(seen["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] != "", "no address: {seen}");
    Ok(())
}

/// A published port leads to the container by whichever network is its way out.
fn published_port_follows(case: &Case) -> Result<()> {
    let made = Made::new(case, "pf", &[])?;
    let script = "mkdir /w; echo served >/w/x; httpd -f -p 80 -h /w";
    let server = case.detached("a", &["-p", "127.0.0.1::80", "nanoserver", "sh", "-c", script])?;
    let port = case.docker(&["port", &server, "80/tcp"])?.ok()?;
    let served = || {
        eventually(Duration::from_secs(30), || {
            let seen = Invocation::new("curl", &["-s", "-m", "5", &format!("http://{port}/x")]).ok();
            Ok(seen.ok().filter(|seen| seen == "served"))
        })
    };
    served().context("before")?;
    case.docker(&["network", "connect", &made.name, &server])?.ok()?;
    case.docker(&["network", "disconnect", "bridge", &server])?.ok()?;
    served().context("in the other network")?;
    Ok(())
}

/// What is changed at rest is there at the next start.
fn at_rest(case: &Case) -> Result<()> {
    let made = Made::new(case, "ar", &["--subnet", &subnet(case, 4)])?;
    let name = case.name("a");
    let level = case.isolation();
    case.docker(&["create", "--name", &name, &level, "nanoserver", "sleep", "1000"])?.ok()?;
    let ip = subnet(case, 4).replace("0/24", "9");
    case.docker(&["network", "connect", "--ip", &ip, &made.name, &name])?.ok()?;
    case.docker(&["start", &name])?.ok()?;
    check_eq!(made.address(&name)?, ip);
    check!(case.shell(&name, "ip -4 -o address show eth1")?.contains(&ip), "not there");
    case.docker(&["stop", "-t", "0", &name])?.ok()?;
    case.docker(&["network", "disconnect", "bridge", &name])?.ok()?;
    case.docker(&["network", "disconnect", &made.name, &name])?.ok()?;
    case.docker(&["start", &name])?.ok()?;
    check_eq!(case.shell(&name, "ip route | wc -l")?, "0");
    Ok(())
}

fn refusals(case: &Case) -> Result<()> {
    let made = Made::new(case, "re", &[])?;
    let without = sleeper(case, "a", &["--network", "none"])?;
    let error = case.docker(&["network", "connect", &made.name, &without])?.fails(1)?;
    check!(error.contains("private (none) mode"), "{error}");
    let name = sleeper(case, "b", &[])?;
    let error = case.docker(&["network", "disconnect", &made.name, &name])?.fails(1)?;
    check!(error.contains("is not connected to network"), "{error}");
    let error = case.docker(&["network", "connect", "host", &name])?.fails(1)?;
    check!(error.contains("host network"), "{error}");
    let error = case.docker(&["network", "connect", "--ip", "10.1.2.3", &made.name, &name])?.fails(1)?;
    check!(error.contains("user configured subnets"), "{error}");
    Ok(())
}

/// Addresses of both families, in names, routes and `inspect`.
fn ipv6(case: &Case) -> Result<()> {
    let prefix = if case.level == Level::Process { "fd00:c0f:1" } else { "fd00:c0f:2" };
    let made = Made::new(case, "v6", &["--ipv6", "--subnet", &format!("{prefix}::/64")])?;
    let server = made.server("a", &["--ip6", &format!("{prefix}::99")])?;
    let seen = case.inspect(&server)?["NetworkSettings"]["Networks"][&made.name].clone();
    check_eq!(seen["GlobalIPv6Address"].as_str(), Some(format!("{prefix}::99").as_str()));
    check_eq!(seen["IPv6Gateway"].as_str(), Some(format!("{prefix}::1").as_str()));
    let client = sleeper(case, "b", &["--network", &made.name])?;
    check_eq!(fetched(case, &client, &format!("[{prefix}::99]"))?, "served");
    let route = case.shell(&client, "ip -6 route")?;
    check!(route.contains(&format!("default via {prefix}::1 dev eth0")), "{route}");
    let found = case.shell(&client, &format!("nslookup -type=aaaa {server} {}", made.gateway()?))?;
    check!(found.contains(&format!("{prefix}::99")), "{found}");
    // Without being asked for it a network has a subnet of its own; a container in a network without IPv6 has none.
    let other = Made::new(case, "v6 other", &["--ipv6"])?;
    case.docker(&["network", "connect", &other.name, &client])?.ok()?;
    let addresses = case.shell(&client, "ip -6 -o address show scope global")?;
    check_eq!(addresses.lines().filter(|line| line.contains("inet6 fd")).count(), 2);
    let plain = case.run(&["nanoserver", "sh", "-c", "ip -6 -o address show dev eth0 | wc -l"])?.ok()?;
    check_eq!(plain, "0");
    Ok(())
}

/// Names that one container alone has for another, in the default network and in a user's.
fn links(case: &Case) -> Result<()> {
    let script = "mkdir /w; echo served >/w/x; httpd -f -p 80 -h /w";
    let server = case.detached("a", &["nanoserver", "sh", "-c", script])?;
    let client = sleeper(case, "b", &["--link", &format!("{server}:db")])?;
    check_eq!(fetched(case, &client, "db")?, "served");
    case.docker(&["rm", "-f", &client])?.ok()?;

    let made = Made::new(case, "li", &[])?;
    case.docker(&["network", "connect", &made.name, &server])?.ok()?;
    let client = sleeper(case, "c", &["--network", &made.name, "--link", &format!("{server}:database")])?;
    check_eq!(fetched(case, &client, "database")?, "served");
    Ok(())
}

/// `--network container:NAME`: the same addresses and ports at the process level, a clear refusal at the other.
fn anothers_network(case: &Case) -> Result<()> {
    let server = sleeper(case, "a", &["--hostname", "theirs"])?;
    let join = format!("container:{server}");
    if case.level == Level::Hyperv {
        let error = case.run(&["--network", &join, "nanoserver", "true"])?.fails(125)?;
        check!(error.contains("kernel of its own"), "{error}");
        let name = case.name("p");
        let args =
            ["run", "--rm", "--name", &name, "--isolation=process", "--network", &join, "nanoserver", "true"];
        let error = case.docker(&args)?.fails(125)?;
        check!(error.contains("isolation hyperv"), "{error}");
        return Ok(());
    }
    let script = "ip -4 -o address show eth0; hostname; mkdir /w; echo served >/w/x; httpd -f -p 80 -h /w";
    let joined = case.detached("b", &["--network", &join, "nanoserver", "sh", "-c", script])?;
    let theirs = case.shell(&server, "ip -4 -o address show eth0")?;
    eventually(Duration::from_secs(20), || {
        let seen = case.docker(&["logs", &joined])?.ok()?;
        Ok(Some(()).filter(|()| seen.contains(&theirs) && seen.contains("theirs")))
    })
    .context("another network or name")?;
    check_eq!(fetched(case, &server, "127.0.0.1")?, "served");
    let error = case.docker(&["network", "connect", "bridge", &joined])?.fails(1)?;
    check!(error.contains("sharing network namespace"), "{error}");
    let error = case.run(&["--network", &join, "-p", "80", "nanoserver", "true"])?.fails(125)?;
    check!(error.contains("conflicting options"), "{error}");
    case.docker(&["stop", "-t", "0", &server])?.ok()?;
    let error = case.run(&["--network", &join, "nanoserver", "true"])?.fails(125)?;
    check!(error.contains("non running container"), "{error}");
    Ok(())
}

/// A network that is an interface of the host's: containers there are on what that is plugged into.
fn macvlan(case: &Case) -> Result<()> {
    let (parent, outside) = match case.level {
        Level::Process => ("cfdmvp0", "cfdmvp1"),
        Level::Hyperv => ("cfdmvh0", "cfdmvh1"),
    };
    let _wire = Wire::new(parent, outside)?;
    let option = format!("parent={parent}");
    let range = subnet(case, 5);
    let own = |last: &str| range.replace("0/24", last);
    let flags = ["-d", "macvlan", "-o", &option, "--subnet", &range, "--gateway", &own("1")];
    let made = Made::new(case, "mv", &flags)?;
    check_eq!(made.inspect()?["Driver"].as_str(), Some("macvlan"));
    let error =
        case.docker(&[&["network", "create"], &flags[..4], &["--subnet", "10.217.9.0/24", "no"]].concat())?;
    let error = error.fails(1)?;
    check!(error.contains("already using parent interface"), "{error}");

    let server = made.server("a", &["--ip", &own("10")])?;
    let client = sleeper(case, "b", &["--network", &made.name])?;
    check_eq!(fetched(case, &client, &own("10"))?, "served");
    // Whoever is at the other end of the wire is in the same network.
    let address = format!("{}/24", own("1"));
    Invocation::new("ip", &["address", "add", &address, "dev", outside]).ok()?;
    check_eq!(
        case.shell(&client, &format!("ping -c 1 -W 10 {} >/dev/null && echo answered", own("1")))?,
        "answered"
    );
    let seen = Invocation::new("curl", &["-s", "-m", "20", &format!("http://{}/x", own("10"))]).ok()?;
    check_eq!(seen, "served");
    check!(case.shell(&server, "ip route")?.contains(&format!("default via {}", own("1"))), "no way out");
    Ok(())
}

/// Two interfaces of the host that are one wire.
struct Wire<'a>(&'a str);

impl<'a> Wire<'a> {
    fn new(one: &'a str, other: &str) -> Result<Self> {
        let _ = Invocation::new("ip", &["link", "delete", one]).output();
        Invocation::new("ip", &["link", "add", one, "type", "veth", "peer", "name", other]).ok()?;
        for end in [one, other] {
            Invocation::new("ip", &["link", "set", end, "up"]).ok()?;
        }
        Ok(Self(one))
    }
}

impl Drop for Wire<'_> {
    fn drop(&mut self) {
        let _ = Invocation::new("ip", &["link", "delete", self.0]).output();
    }
}

/// After `kill -9` of the daemon a container's networks can still be changed.
fn daemon_killed(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "rewired", &[])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    daemon.docker(&["network", "create", "one"]).ok()?;
    daemon.docker(&["network", "create", "two"]).ok()?;
    daemon.docker(&["run", "-d", "--name", "box", &isolation, "nanoserver", "sleep", "1000"]).ok()?;
    daemon.docker(&["network", "connect", "one", "box"]).ok()?;
    daemon.kill()?;
    daemon.launch(&[])?;
    let interfaces =
        || daemon.docker(&["exec", "box", "sh", "-c", "ip -4 -o address show scope global | wc -l"]).ok();
    check_eq!(interfaces()?, "2");
    daemon.docker(&["network", "connect", "two", "box"]).ok()?;
    check_eq!(interfaces()?, "3");
    daemon.docker(&["network", "disconnect", "one", "box"]).ok()?;
    check_eq!(interfaces()?, "2");
    daemon.docker(&["network", "rm", "one"]).ok()?;
    // What it had in the default network is the next one's.
    let before = daemon.inspect("box")?["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].take();
    let before = before.as_str().context("no address")?.to_owned();
    daemon.docker(&["network", "disconnect", "bridge", "box"]).ok()?;
    let next = ["run", "--rm", &isolation, "nanoserver", "ip", "-4", "-o", "address", "show", "eth0"];
    let next = daemon.docker(&next).ok()?;
    check!(next.contains(&format!("inet {before}/")), "{before} is not free: {next}");
    daemon.docker(&["rm", "-f", "box"]).ok()?;
    daemon.docker(&["network", "rm", "two"]).ok()?;
    daemon.remove_everything()
}
