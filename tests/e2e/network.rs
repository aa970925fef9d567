//! The default network.

use anyhow::{Context, Result};
use cofferdam_tests::{Case, Level, Outside, Test, check, check_eq};

pub const CASES: &[Test] = &[
    Test::both("network::bridge", bridge),
    Test::both("network::between_containers", between_containers).with_vms(2),
    Test::both("network::outbound_through_nat", outbound_through_nat),
    Test::both("network::none", none),
    Test::both("network::host", host),
];

/// An address of its own, a gateway, names in /etc/hosts, a resolv.conf.
fn bridge(case: &Case) -> Result<()> {
    let name = case.detached("a", &["--hostname", "bridged", "nanoserver", "sleep", "1000"])?;
    let settings = case.inspect(&name)?["NetworkSettings"].clone();
    let address = settings["IPAddress"].as_str().unwrap_or_default().to_owned();
    let gateway = settings["Gateway"].as_str().unwrap_or_default().to_owned();
    check_eq!(settings["Networks"]["bridge"]["IPAddress"].as_str(), Some(address.as_str()));
    let mac = settings["MacAddress"].as_str().unwrap_or_default().to_owned();
    let script = "ip -4 -o address show eth0; ip -o link show eth0; ip route; cat /etc/hosts /etc/resolv.conf; \
                  ping -c 1 -w 10 ";
    let seen = case.shell(&name, &format!("{script}{gateway}"))?;
    for wanted in [
        format!("inet {address}/"),
        format!("link/ether {mac}"),
        format!("default via {gateway}"),
        "bridged".to_owned(),
        "127.0.0.1\tlocalhost".to_owned(),
        "nameserver ".to_owned(),
        "1 packets received".to_owned(),
    ] {
        check!(!wanted.trim().is_empty() && seen.contains(&wanted), "{wanted:?} is missing in:\n{seen}");
    }
    let hosts = seen.lines().find(|line| line.starts_with(&address)).unwrap_or_default();
    check!(hosts.contains("bridged"), "no line with the container's name in:\n{seen}");
    // The address comes back after a restart or another one does, never none, and the host reaches it.
    case.docker(&["restart", "-t", "0", &name])?.ok()?;
    let address =
        case.inspect(&name)?["NetworkSettings"]["IPAddress"].as_str().unwrap_or_default().to_owned();
    check!(case.shell(&name, "ip -4 -o address show eth0")?.contains(&address), "not {address} inside");
    Ok(())
}

fn between_containers(case: &Case) -> Result<()> {
    let server =
        case.detached("a", &["nanoserver", "sh", "-c", "mkdir /w; echo served >/w/x; httpd -f -p 80 -h /w"])?;
    let address =
        case.inspect(&server)?["NetworkSettings"]["IPAddress"].as_str().context("no address")?.to_owned();
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://{address}/x && exit; sleep 0.5; done; exit 1"
    );
    check_eq!(case.run(&["nanoserver", "sh", "-c", &script])?.ok()?, "served");
    if case.level == Level::Hyperv {
        // The levels share the network.
        let args = ["run", "--rm", "--isolation=process", "nanoserver", "sh", "-c", &script];
        check_eq!(case.docker(&args)?.ok()?, "served");
    }
    Ok(())
}

/// A server that has no route back to the container answers, so the host's address was put in place of it.
fn outbound_through_nat(case: &Case) -> Result<()> {
    case.daemon()?;
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let big: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(dir.join("big"), &big)?;
    let _outside = Outside::start(&dir).context("set up a network outside")?;
    let script = format!(
        "timeout 60 wget -qO- http://{0}/hello && timeout 60 wget -qO- http://{0}/big | sha256sum",
        Outside::ADDRESS
    );
    let sum = cofferdam_tests::archive::digest(&big).replace("sha256:", "");
    check_eq!(case.run(&["nanoserver", "sh", "-c", &script])?.ok()?, format!("{}{sum}  -", Outside::HELLO));
    Ok(())
}

fn none(case: &Case) -> Result<()> {
    let script = "ls /sys/class/net; ping -c 1 -w 5 127.0.0.1 | grep received; timeout 5 wget -qO- http://198.51.100.2/ 2>&1; true";
    let seen = case.run(&["--network", "none", "nanoserver", "sh", "-c", script])?.ok()?;
    let interfaces: Vec<_> = seen.lines().take_while(|line| !line.contains("received")).collect();
    check!(interfaces.iter().all(|name| ["lo", "sit0", "tunl0", "ip6tnl0"].contains(name)), "{interfaces:?}");
    check!(interfaces.contains(&"lo"), "no loopback: {seen}");
    check!(seen.contains("1 packets received"), "loopback is down: {seen}");
    check!(seen.contains("unreachable"), "something was reached: {seen}");
    Ok(())
}

/// The host's network at the process level; refused at the hyperv level.
fn host(case: &Case) -> Result<()> {
    if case.level == Level::Hyperv {
        let error = case.run(&["--network", "host", "nanoserver", "true"])?.fails(125)?;
        check!(error.contains("host") && error.contains("hyperv"), "{error}");
        return Ok(());
    }
    let bridge = format!("cfd-{}", case.daemon()?.instance());
    let seen =
        case.run(&["--network", "host", "nanoserver", "sh", "-c", "ls /sys/class/net; hostname"])?.ok()?;
    check!(seen.lines().any(|line| line == bridge), "{bridge} of the host is not seen: {seen}");
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    check_eq!(seen.lines().last(), Some(hostname.trim()));
    Ok(())
}
