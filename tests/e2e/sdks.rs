//! What other programs drive a Docker engine with: the SDK for Python, Compose.

use std::time::Duration;

use anyhow::Result;
use cofferdam_tests::{Case, Invocation, Skip, Test, check_eq};

pub const CASES: &[Test] = &[Test::both("sdks::python", python).with_vms(2)];

/// A dozen starts of emulated VMs, beside other cases.
const SCRIPT: Duration = Duration::from_secs(240);

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
