//! Conversion between isolation levels, from the case's level to the other and back: nothing is lost, and what stands in the
//! way is said before anything moves.

use std::time::Instant;

use anyhow::{Context as _, Result};
use cofferdam_tests::{Case, Level, Test, check, check_eq};
use serde_json::{Value, json};

pub const CASES: &[Test] = &[
    Test::both("convert::nothing_is_lost", nothing_is_lost).with_vms(2),
    Test::both("convert::refused_before_anything_moves", refused_before_anything_moves),
    Test::both("convert::many_times_with_changes", many_times_with_changes).with_vms(2),
];

fn other(case: &Case) -> &'static str {
    if case.level == Level::Hyperv { "process" } else { "hyperv" }
}

/// What a conversion must not change.
fn identity(seen: &Value) -> Value {
    let mut host = seen["HostConfig"].clone();
    host["Isolation"] = Value::Null;
    json!([
        seen["Id"],
        seen["Name"],
        seen["Created"],
        seen["Config"],
        host,
        seen["Mounts"],
        seen["LogPath"],
        seen["Image"]
    ])
}

fn addresses(seen: &Value) -> Value {
    let networks = seen["NetworkSettings"]["Networks"].as_object().cloned().unwrap_or_default();
    let of = |network: &Value| json!([network["IPAddress"], network["MacAddress"], network["Gateway"]]);
    json!([
        networks.iter().map(|(name, network)| json!([name, of(network)])).collect::<Vec<_>>(),
        seen["NetworkSettings"]["Ports"]
    ])
}

fn nothing_is_lost(case: &Case) -> Result<()> {
    case.host.offers(Level::Hyperv)?;
    let (to, network, volume) = (other(case), case.name("net"), case.name("volume"));
    let program = case.static_program("tree", include_str!("convert/tree.c"))?;
    case.docker(&["network", "create", &network])?.ok()?;
    // A port that the kernel chooses is another after each start.
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let publish = format!("127.0.0.1:{free}:8080");
    let (bind, data) = (format!("{}:/program:ro", program.display()), format!("{volume}:/data"));
    let flags = [
        "-v",
        &bind,
        "-v",
        &data,
        "--network",
        &network,
        "-p",
        &publish,
        "-e",
        "KEPT=1",
        "--label",
        "k=v",
        "--memory",
        "96m",
        "--pids-limit",
        "77",
        "--restart",
        "unless-stopped",
        "--health-cmd",
        "true",
    ];
    let image = ["nanoserver", "sh", "-c", "echo started; exec sleep 1000"];
    let name = case.detached("a", &[&flags[..], &image].concat())?;
    case.shell(
        &name,
        "mkdir -p /srv/tree; /program make /srv/tree; echo volume >/data/file; rm /etc/group; rm -r /root; mkdir /root; \
         touch /root/own; ln /etc/passwd /etc/passwd.link; head -c 3000000 /dev/urandom >/srv/random",
    )?;
    let see = |name: &str| {
        case.shell(
            name,
            "/program see /srv /root /etc/passwd /etc/passwd.link; ls -A /etc | grep -c '^group$'; true",
        )
    };
    let (tree, before) = (see(&name)?, case.inspect(&name)?);
    check!(tree.contains("security.capability=") && tree.contains("system.posix_acl_access="), "{tree}");

    case.cofferdam(&["update", &format!("--isolation={to}"), "--restart", &name])?.ok()?;
    let there = case.inspect(&name)?;
    check_eq!(there["HostConfig"]["Isolation"], to);
    check_eq!(identity(&there), identity(&before));
    check_eq!(addresses(&there), addresses(&before));
    check_eq!(see(&name)?, tree);
    check_eq!(case.shell(&name, "cat /data/file; echo $KEPT")?, "volume\n1");
    check_eq!(case.docker(&["logs", &name])?.ok()?, "started\nstarted");

    // And back, by the API's own words, of a container at rest.
    case.docker(&["stop", "-t", "0", &name])?.ok()?;
    let answer = case
        .daemon()?
        .post(&format!("/containers/{name}/update"), &json!({ "Isolation": case.level.as_str() }))?;
    check_eq!(answer.status, 200, "{answer:?}");
    check_eq!(case.inspect(&name)?["State"]["Status"], "exited");
    case.docker(&["start", &name])?.ok()?;
    let back = case.inspect(&name)?;
    check_eq!(identity(&back), identity(&before));
    check_eq!(addresses(&back), addresses(&before));
    check_eq!(see(&name)?, tree);
    case.docker(&["rm", "-f", &name])?.ok()?;
    case.docker(&["network", "rm", &network])?.ok()?;
    case.docker(&["volume", "rm", &volume])?.ok()?;
    Ok(())
}

fn refused_before_anything_moves(case: &Case) -> Result<()> {
    let (to, name) = (other(case), case.detached("a", &["nanoserver", "sleep", "1000"])?);
    let isolation = format!("--isolation={to}");
    let error = case.cofferdam(&["update", &isolation, &name])?.fails(1)?;
    check!(error.contains("it runs: stop it first, or convert it with --restart"), "{error}");
    let error = case.cofferdam(&["update", &isolation, "--dry-run", &name])?.fails(1)?;
    check!(error.contains("it runs"), "{error}");
    let fine = case.cofferdam(&["update", &isolation, "--dry-run", "--restart", &name])?.ok()?;
    check!(fine.contains("nothing stands in the way"), "{fine}");
    check_eq!(case.inspect(&name)?["HostConfig"]["Isolation"], case.level.as_str());
    let error = case.cofferdam(&["update", "--isolation=wsl", &name])?.fails(1)?;
    check!(error.contains("wsl"), "{error}");
    case.docker(&["rm", "-f", &name])?.ok()?;
    if case.level == Level::Process {
        let name = case.name("host");
        let flags = ["create", "--name", &name, "--isolation=process", "--network", "host", "--pid", "host"];
        case.docker(&[&flags[..], &["--device", "/dev/null:/dev/x", "nanoserver", "true"]].concat())?.ok()?;
        let error = case.cofferdam(&["update", "--isolation=hyperv", "--dry-run", &name])?.fails(1)?;
        for what in ["network mode host", "pid mode host", "host devices"] {
            check!(error.contains(what), "{what} is not in the list: {error}");
        }
        let error = case.cofferdam(&["update", "--isolation=hyperv", &name])?.fails(1)?;
        check!(error.contains("network mode host") && error.contains("host devices"), "{error}");
        check_eq!(case.inspect(&name)?["HostConfig"]["Isolation"], "process");
        case.docker(&["rm", &name])?.ok()?;
    }
    Ok(())
}

/// Back and forth, with changes in between; `COFFERDAM_CONVERSIONS` says how often: 4 times when it does not.
fn many_times_with_changes(case: &Case) -> Result<()> {
    case.host.offers(Level::Hyperv)?;
    let times = std::env::var("COFFERDAM_CONVERSIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let program = case.static_program("tree", include_str!("convert/tree.c"))?;
    let bind = format!("{}:/program:ro", program.display());
    let script = "/program see /srv /usr >/tmp/before; cmp /tmp/before /var/after || exit 1; n=$1; d=/srv/$((n % 7)); \
                  rm -rf $d; mkdir -p $d/a/b; ln -s $n $d/l; seq $n $((n * 50)) >$d/a/f; ln $d/a/f $d/a/b/g; chmod 4$((n % 8))55 $d/a/f; \
                  rm -f /usr/made; echo $n >/usr/made; test $((n % 3)) = 0 && chown $n:$n $d/a/b; \
                  test -e /srv/tree || { mkdir -p /srv/tree; /program make /srv/tree; }; /program see /srv /usr >/var/after; \
                  echo same";
    let name = case.name("a");
    // Its argument is in a file of the volume, for a container's arguments stay.
    let (volume, isolation) = (case.name("n"), case.isolation());
    let args = format!(
        "set -- $(cat /data/n 2>/dev/null || {{ mkdir -p /srv /usr /var; /program see /srv /usr >/var/after; echo 1; }}); {script}; echo $(($1 + 1)) >/data/n"
    );
    case.docker(&[
        "create",
        "--name",
        &name,
        &isolation,
        "-v",
        &bind,
        "-v",
        &format!("{volume}:/data"),
        "nanoserver",
        "sh",
        "-c",
        &args,
    ])?
    .ok()?;
    let levels = [other(case), case.level.as_str()];
    let begun = Instant::now();
    for n in 0..times {
        check_eq!(
            case.docker(&["start", "-a", &name])?.ok().with_context(|| format!("conversion {n}"))?,
            "same"
        );
        case.cofferdam(&["update", &format!("--isolation={}", levels[n % 2]), &name])?.ok()?;
    }
    check_eq!(case.docker(&["start", "-a", &name])?.ok()?, "same");
    println!("{times} conversions in {:.1} s", begun.elapsed().as_secs_f64());
    case.docker(&["rm", "-f", &name])?.ok()?;
    case.docker(&["volume", "rm", &volume])?.ok()?;
    Ok(())
}
