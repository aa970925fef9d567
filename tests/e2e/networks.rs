//! Networks that users make.

use std::time::Duration;

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Daemon, Invocation, Outside, Test, check, check_eq, eventually};
use serde_json::Value;

pub const CASES: &[Test] = &[
    Test::engine("networks::made_and_removed", made_and_removed),
    Test::engine("networks::refusals", refusals),
    Test::both("networks::names", names).with_vms(2),
    Test::both("networks::walls", walls).with_vms(2),
    Test::both("networks::internal", internal),
    Test::both("networks::apart", apart).with_vms(2),
    Test::both("networks::addresses", addresses).with_vms(2),
    Test::both("networks::published", published),
    Test::both("networks::daemon_killed", daemon_killed).with_vms(2),
];

/// A network that is removed when the case ends; containers in it were named through [`Case::name`] and go first.
pub struct Made<'a, 'b> {
    case: &'a Case<'b>,
    pub name: String,
}

impl<'a, 'b> Made<'a, 'b> {
    pub fn new(case: &'a Case<'b>, name: &str, flags: &[&str]) -> Result<Self> {
        let name = format!("{} {}", case.level.as_str(), name);
        case.docker(&[&["network", "create"], flags, &[&name]].concat())?.ok()?;
        Ok(Self { case, name })
    }

    pub fn inspect(&self) -> Result<Value> {
        let text = self.case.docker(&["network", "inspect", &self.name])?.ok()?;
        Ok(serde_json::from_str::<Value>(&text)?[0].clone())
    }

    pub fn gateway(&self) -> Result<String> {
        Ok(self.inspect()?["IPAM"]["Config"][0]["Gateway"].as_str().context("no gateway")?.to_owned())
    }

    /// A container's address in it.
    pub fn address(&self, container: &str) -> Result<String> {
        let networks = self.case.inspect(container)?["NetworkSettings"]["Networks"].clone();
        Ok(networks[&self.name]["IPAddress"].as_str().context("no address")?.to_owned())
    }

    /// A web server in it.
    pub fn server(&self, suffix: &str, flags: &[&str]) -> Result<String> {
        let script = "mkdir /w; echo served >/w/x; httpd -f -p 80 -h /w";
        let image = ["nanoserver", "sh", "-c", script];
        self.case.detached(suffix, &[&["--network", &self.name], flags, &image].concat())
    }
}

impl Drop for Made<'_, '_> {
    fn drop(&mut self) {
        let Ok(daemon) = self.case.daemon() else { return };
        let inside =
            self.inspect().unwrap_or_default()["Containers"].as_object().cloned().unwrap_or_default();
        for id in inside.keys() {
            let _ = daemon.docker(&["rm", "-f", id]).output();
        }
        let _ = daemon.docker(&["network", "rm", &self.name]).output();
    }
}

pub const FETCH: &str = "i=0; while [ $i -lt 20 ]; do timeout 5 wget -qO- http://$1/x && exit; i=$((i+1)); sleep 0.5; done; exit 1";
pub const ONCE: &str = "timeout 3 wget -qO- http://$1/x && exit 0; echo out of reach";

/// The same from the host.
fn get(url: &str) -> Result<String> {
    Invocation::new("busybox", &["timeout", "5", "busybox", "wget", "-qO-", url]).ok()
}

fn fetch<'a>(script: &'a str, target: &'a str) -> [&'a str; 6] {
    ["nanoserver", "sh", "-c", script, "sh", target]
}

fn made_and_removed(case: &Case) -> Result<()> {
    let daemon = case.daemon()?;
    let flags = ["--subnet", "10.213.7.0/24", "--ip-range", "10.213.7.128/25", "--label", "a=b", "--opt"];
    let made =
        Made::new(case, "Virtual Switch", &[&flags[..], &["com.docker.network.driver.mtu=1400"]].concat())?;
    let seen = made.inspect()?;
    check_eq!(seen["Driver"].as_str(), Some("bridge"));
    check_eq!(seen["IPAM"]["Config"][0]["Subnet"].as_str(), Some("10.213.7.0/24"));
    check_eq!(seen["IPAM"]["Config"][0]["Gateway"].as_str(), Some("10.213.7.1"));
    check_eq!(seen["Labels"]["a"].as_str(), Some("b"));
    let id = seen["Id"].as_str().context("no ID")?.to_owned();
    // On the host there is a bridge with that address, named after the instance.
    let prefix = format!("cn{}-", daemon.instance());
    let bridge = || -> Result<Option<String>> {
        let text = Invocation::new("ip", &["-4", "-o", "address"]).ok()?;
        let line = text.lines().find(|line| line.contains("10.213.7.1/24"));
        Ok(line.and_then(|line| line.split_whitespace().nth(1)).map(str::to_owned))
    };
    let name = bridge()?.context("no bridge")?;
    check!(name.starts_with(&prefix), "{name}");
    let table = format!("cofferdam_{}_{}", daemon.instance(), name.trim_start_matches(&prefix));
    check!(Invocation::new("nft", &["list", "tables"]).ok()?.contains(&table), "no table {table}");
    check!(Invocation::new("ip", &["link", "show", &name]).ok()?.contains("mtu 1400"), "another MTU");

    let listed = case
        .cofferdam(&["network", "ls", "--filter", "label=a=b", "--format", "{{.Name}} {{.Driver}}"])?
        .ok()?;
    check_eq!(listed, format!("{} bridge", made.name));
    check_eq!(
        case.docker(&["network", "ls", "-q", "--no-trunc", "-f", "type=custom", "-f", &format!("id={id}")])?
            .ok()?,
        id
    );
    let error = case.docker(&["network", "create", &made.name])?.fails(1)?;
    check!(error.contains("already exists"), "{error}");
    let error = case.docker(&["network", "create", "--subnet", "10.213.0.0/16", "overlapping"])?.fails(1)?;
    check!(error.contains("Pool overlaps with other one on this address space"), "{error}");

    check_eq!(case.cofferdam(&["network", "rm", &made.name])?.ok()?, made.name);
    check_eq!(bridge()?, None);
    check!(!Invocation::new("nft", &["list", "tables"]).ok()?.contains(&table), "{table} is left");
    let error = case.docker(&["network", "inspect", &made.name])?.fails(1)?;
    check!(error.contains("not found"), "{error}");
    Ok(())
}

fn refusals(case: &Case) -> Result<()> {
    for (flags, words) in [
        (&["--driver", "weave", "n"][..], "could not find plugin weave"),
        (&["--driver", "macvlan", "n"], "-o parent=NAME"),
        (&["--subnet", "10.213.8.1/24", "n"], "it should be 10.213.8.0/24"),
        (&["--opt", "x=y", "n"], "not supported"),
        (&["bridge"], "not permitted on predefined bridge network"),
    ] {
        let error = case.docker(&[&["network", "create"], flags].concat())?.fails(1)?;
        check!(error.contains(words), "{flags:?}: {error}");
    }
    let error = case.docker(&["network", "rm", "bridge"])?.fails(1)?;
    check!(error.contains("pre-defined network and cannot be removed"), "{error}");
    let error = case.docker(&["run", "--rm", "--network", "nowhere", "nanoserver"])?.fails(125)?;
    check!(error.contains("network nowhere not found"), "{error}");
    Ok(())
}

/// Containers find each other by name, alias and ID, and an address has a name.
fn names(case: &Case) -> Result<()> {
    let made = Made::new(case, "names", &[])?;
    let server = made.server("a", &["--network-alias", "Web"])?;
    let address = made.address(&server)?;
    let id = case.inspect(&server)?["Id"].as_str().context("no ID")?[..12].to_owned();
    let client = case.detached("b", &["--network", &made.name, "nanoserver", "sleep", "1000"])?;
    for name in [server.as_str(), "web", &id] {
        check_eq!(case.shell(&client, &format!("set -- {name}; {FETCH}"))?, "served");
    }
    let gateway = made.gateway()?;
    check!(
        case.shell(&client, "cat /etc/resolv.conf")?.contains(&format!("nameserver {gateway}")),
        "resolv.conf"
    );
    let reverse = case.shell(&client, &format!("nslookup {address} {gateway}"))?;
    check!(reverse.contains(&server), "no reverse answer: {reverse}");
    // The network cannot go while it is in use.
    check_eq!(made.inspect()?["Containers"].as_object().map(serde_json::Map::len), Some(2));
    let error = case.docker(&["network", "rm", &made.name])?.fails(1)?;
    check!(error.contains("has active endpoints") && error.contains(&server), "{error}");

    case.docker(&["rm", "-f", &server])?.ok()?;
    let missing = case.shell(&client, "nslookup web >/dev/null 2>&1 || echo gone")?;
    check_eq!(missing, "gone");
    case.docker(&["rm", "-f", &client])?.ok()?;
    case.docker(&["network", "rm", &made.name])?.ok()?;
    Ok(())
}

/// Two networks, and the default one, do not reach each other.
fn walls(case: &Case) -> Result<()> {
    let (one, two) = (Made::new(case, "one", &[])?, Made::new(case, "two", &[])?);
    let server = one.server("a", &[])?;
    let address = one.address(&server)?;
    let within = [&["--network", one.name.as_str()][..], &fetch(FETCH, &address)].concat();
    check_eq!(case.run(&within)?.ok()?, "served");
    let beyond = [&["--network", two.name.as_str()][..], &fetch(ONCE, &address)].concat();
    check_eq!(case.run(&beyond)?.ok()?, "out of reach");
    check_eq!(case.run(&fetch(ONCE, &address))?.ok()?, "out of reach");
    Ok(())
}

/// Nothing beyond is reached from an internal network, and the world beyond is from another.
fn internal(case: &Case) -> Result<()> {
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("x"), "served\n")?;
    let closed = Made::new(case, "closed", &["--internal"])?;
    let open = Made::new(case, "open", &[])?;
    let _outside = Outside::start(&dir).context("set up a network outside")?;
    let from = |network: &str, script| -> Result<String> {
        case.run(&[&["--network", network][..], &fetch(script, Outside::ADDRESS)].concat())?.ok()
    };
    check_eq!(from(&open.name, FETCH)?, "served");
    check_eq!(from(&closed.name, ONCE)?, "out of reach");
    Ok(())
}

/// Without communication between containers they reach what is beyond, but not each other.
fn apart(case: &Case) -> Result<()> {
    let made = Made::new(case, "apart", &["-o", "com.docker.network.bridge.enable_icc=false"])?;
    let server = made.server("a", &[])?;
    let address = made.address(&server)?;
    // It is there: the host reaches it.
    eventually(Duration::from_secs(30), || {
        let seen = get(&format!("http://{address}/x"));
        Ok(seen.ok().filter(|seen| seen == "served"))
    })
    .context("the host does not reach the container")?;
    let args = [&["--network", made.name.as_str()][..], &fetch(ONCE, &address)].concat();
    check_eq!(case.run(&args)?.ok()?, "out of reach");
    Ok(())
}

/// Addresses and MAC addresses as asked for, and no address twice.
fn addresses(case: &Case) -> Result<()> {
    let subnet = match case.level {
        cofferdam_tests::Level::Process => "10.214.1",
        cofferdam_tests::Level::Hyperv => "10.214.2",
    };
    let made = Made::new(
        case,
        "addresses",
        &["--subnet", &format!("{subnet}.0/24"), "--gateway", &format!("{subnet}.2")],
    )?;
    let (ip, mac) = (format!("{subnet}.77"), "02:42:0a:d6:00:99");
    let flags = ["--network", &made.name, "--ip", &ip, "--mac-address", mac];
    let fixed = case.detached("a", &[&flags[..], &["nanoserver", "sleep", "1000"]].concat())?;
    let seen = case.shell(&fixed, "ip -4 -o address show eth0; ip -o link show eth0; ip route")?;
    for wanted in [format!("inet {ip}/24"), mac.to_owned(), format!("default via {subnet}.2")] {
        check!(seen.contains(&wanted), "{wanted} is missing in:\n{seen}");
    }
    let again = ["--network", &made.name, "--ip", &ip, "nanoserver", "true"];
    let error = case.run(&again)?.fails(125)?;
    check!(error.contains("Address already in use"), "{error}");
    for (wrong, words) in
        [(format!("{subnet}.2"), "no configured subnet"), ("10.1.1.1".to_owned(), "no configured subnet")]
    {
        let error = case.run(&["--network", &made.name, "--ip", &wrong, "nanoserver"])?.fails(125)?;
        check!(error.contains(words), "{error}");
    }
    // The gateway is in the middle of the range: the first address is before it, the second behind.
    let next = case
        .run(&["--network", &made.name, "nanoserver", "ip", "-4", "-o", "address", "show", "eth0"])?
        .ok()?;
    check!(next.contains(&format!("inet {subnet}.1/24")), "{next}");
    // The address is free again as soon as clients are told that its container is gone.
    case.docker(&["rm", "-f", &fixed])?.ok()?;
    case.run(&again)?.ok()?;
    Ok(())
}

/// A published port leads into a user's network, too.
fn published(case: &Case) -> Result<()> {
    let made = Made::new(case, "published", &[])?;
    let server = made.server("a", &["-p", "127.0.0.1::80"])?;
    let port = case.docker(&["port", &server, "80/tcp"])?.ok()?;
    eventually(Duration::from_secs(30), || {
        let seen = get(&format!("http://{port}/x"));
        Ok(seen.ok().filter(|seen| seen == "served"))
    })
    .context("the port leads nowhere")?;
    Ok(())
}

/// After `kill -9` of the daemon the network, its addresses and its names are there again; a bridge without a record goes.
fn daemon_killed(case: &Case) -> Result<()> {
    let daemon = Daemon::start(case.host, "nets", &[])?;
    daemon.install_nanoserver()?;
    let isolation = case.isolation();
    daemon.docker(&["network", "create", "stays"]).ok()?;
    let run = |name: &str, words: &[&str]| {
        let args = ["run", "-d", "--name", name, &isolation, "--network", "stays", "nanoserver"];
        daemon.docker(&[&args[..], words].concat()).ok()
    };
    run("server", &["sh", "-c", "mkdir /w; echo served >/w/x; httpd -f -p 80 -h /w"])?;
    run("client", &["sleep", "1000"])?;
    let fetch = |daemon: &Daemon| {
        daemon.docker(&["exec", "client", "sh", "-c", &format!("set -- server; {FETCH}")]).ok()
    };
    check_eq!(fetch(&daemon)?, "served");
    let before = daemon.inspect("server")?["NetworkSettings"]["Networks"]["stays"]["IPAddress"].take();
    daemon.kill()?;
    let lost = format!("cn{}-lost", daemon.instance());
    Invocation::new("ip", &["link", "add", &lost, "type", "bridge"]).ok()?;
    daemon.launch(&[])?;
    check_eq!(fetch(&daemon)?, "served");
    check_eq!(daemon.inspect("server")?["NetworkSettings"]["Networks"]["stays"]["IPAddress"], before);
    Invocation::new("ip", &["link", "show", &lost]).fails(1)?;
    let error = daemon.docker(&["network", "rm", "stays"]).fails(1)?;
    check!(error.contains("has active endpoints"), "{error}");
    daemon.docker(&["rm", "-f", "server", "client"]).ok()?;
    daemon.docker(&["network", "rm", "stays"]).ok()?;
    daemon.remove_everything()
}
