//! What other programs drive a Docker engine with: the SDK for Python, Compose.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cofferdam_tests::{Case, Invocation, Level, Skip, Test, check, check_eq, eventually};

pub const CASES: &[Test] = &[
    Test::both("sdks::python", python).with_vms(2),
    Test::both("sdks::compose", compose).with_vms(2),
    Test::only(&[Level::Hyperv], "sdks::compose_with_both_levels", compose_with_both_levels),
];

/// A dozen starts of emulated VMs, beside other cases.
const SCRIPT: Duration = Duration::from_secs(240);

/// How long something may take that happens beside the case.
const PATIENCE: Duration = Duration::from_secs(60);

/// Debian's, written in Python, with the SDK above.
const COMPOSE: &str = "docker-compose";

/// Debian's: what is in PATH may be a Python of the user's own, without the module.
const PYTHON: &str = "/usr/bin/python3";

fn python(case: &Case) -> Result<()> {
    let module = Invocation::new(PYTHON, &["-c", "import docker, websocket"]).output();
    if !module.is_ok_and(|tried| tried.code == 0) {
        return Err(Skip::because(
            "no Docker SDK for Python here (packages python3-docker, python3-websocket)",
        ));
    }
    let prefix = case.name("sdk");
    for suffix in ["long", "long-renamed", "streams", "terminal", "peer", "events", "prune"] {
        // Named, so that they are removed also after a failure.
        let _ = case.name(&format!("sdk-{suffix}"));
    }
    let daemon = case.daemon()?;
    let seen = Invocation::new(PYTHON, &["-", case.level.as_str(), &prefix])
        .shown_as("sdk.py")
        .env("DOCKER_HOST", format!("unix://{}", daemon.socket().display()))
        .env("DOCKER_CONFIG", case.directory()?)
        .stdin(include_str!("sdk.py"))
        .limit(SCRIPT)
        .ok()?;
    check_eq!(seen, "all is well");
    Ok(())
}

fn compose(case: &Case) -> Result<()> {
    compose_at(case, case.level, case.level)
}

/// The front on the host's kernel, the store in a VM, on one network.
fn compose_with_both_levels(case: &Case) -> Result<()> {
    compose_at(case, Level::Hyperv, Level::Process)
}

/// A project's life with docker-compose.
fn compose_at(case: &Case, store: Level, front: Level) -> Result<()> {
    if !Invocation::new(COMPOSE, &["version"]).output().is_ok_and(|tried| tried.code == 0) {
        return Err(Skip::because("no docker-compose here (package docker-compose)"));
    }
    let project = case.name("compose").replace("::", "-").to_lowercase();
    // Named, so that they are removed also after a failure.
    for service in ["store", "front"] {
        let _ = case.name(&format!("compose_{service}_1"));
    }
    let dir = case.directory()?;
    let file = dir.join("compose.yaml");
    std::fs::write(&file, include_str!("compose.yaml"))?;
    let file = file.to_string_lossy().into_owned();
    let socket = format!("unix://{}", case.daemon()?.socket().display());
    let compose = |args: &[&str]| {
        Invocation::new(COMPOSE, &[&["--ansi", "never", "-f", &file, "-p", &project], args].concat())
            .env("DOCKER_HOST", &socket)
            .env("DOCKER_CONFIG", &dir)
            .env("HOME", &dir)
            .env("IMAGE", "nanoserver")
            .env("LEVEL_OF_STORE", store.as_str())
            .env("LEVEL_OF_FRONT", front.as_str())
            .limit(SCRIPT)
    };
    compose(&["config", "-q"]).ok()?;
    compose(&["up", "-d"]).ok()?;
    let (back, ahead) = (format!("{project}_store_1"), format!("{project}_front_1"));
    for (container, level) in [(&back, store), (&ahead, front)] {
        check_eq!(case.inspect(container)?["HostConfig"]["Isolation"], level.as_str(), "{container}");
    }
    check_eq!(compose(&["ps", "--services", "--filter", "status=running"]).ok()?, "store\nfront");
    // The front waits for what the store is given now.
    compose(&["exec", "-T", "store", "sh", "-c", "echo kept > /data/www/kept; sync"]).ok()?;
    eventually(PATIENCE, || {
        Ok(compose(&["logs", "--no-color", "front"]).ok()?.contains("kept").then_some(()))
    })
    .context("the front never read what the store has")?;
    check_eq!(
        compose(&["exec", "-T", "front", "sh", "-c", "echo $GREETING"]).ok()?,
        format!("from {}", front.as_str())
    );
    check!(compose(&["port", "front", "9000"]).ok()?.starts_with("127.0.0.1:"), "no port");
    eventually(PATIENCE, || {
        Ok((case.inspect(&back)?["State"]["Health"]["Status"] == "healthy").then_some(()))
    })
    .with_context(|| {
        format!("never healthy: {}", case.inspect(&back).unwrap_or_default()["State"]["Health"])
    })?;
    // What has not changed stays; what has is made anew, with its volume.
    let (kept, before) = (case.inspect(&back)?["Id"].clone(), case.inspect(&ahead)?["Id"].clone());
    compose(&["up", "-d"]).ok()?;
    check_eq!(case.inspect(&ahead)?["Id"], before);
    compose(&["up", "-d", "--force-recreate", "--no-deps", "front"]).ok()?;
    check!(case.inspect(&ahead)?["Id"] != before, "the front was not made anew");
    check_eq!(case.inspect(&back)?["Id"], kept);
    compose(&["stop", "-t", "0"]).ok()?;
    compose(&["start"]).ok()?;
    check_eq!(compose(&["exec", "-T", "store", "cat", "/data/www/kept"]).ok()?, "kept");
    compose(&["run", "--rm", "-T", "--no-deps", "front", "echo", "once"]).ok()?;
    compose(&["down", "-v", "-t", "0"]).ok()?;
    for kind in ["container", "network", "volume"] {
        let label = format!("label=com.docker.compose.project={project}");
        check_eq!(case.docker(&[kind, "ls", "-q", "--filter", &label])?.ok()?, "", "{kind}s");
    }
    Ok(())
}
