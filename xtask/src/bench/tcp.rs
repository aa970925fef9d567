//! TCP between a container and the host in both directions, and between two containers: what goes through, and how long
//! a byte takes there and back.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::engine::{Ability, Act, Engine, Network, perform, probed};
use super::figure::{Figure, Sample, Spec};
use super::image;
use super::interleave::interleave;
use super::lab::Lab;
use super::timed;

/// From where to where, with what is measured of each way.
const SPECS: [Spec; 6] = [
    Spec::gain("tcp-to-host", "TCP from a container to the host", "Gbit/s"),
    Spec::cost("tcp-to-host-trip", "a byte from a container to the host and back", "µs"),
    Spec::gain("tcp-from-host", "TCP from the host to a container", "Gbit/s"),
    Spec::cost("tcp-from-host-trip", "a byte from the host to a container and back", "µs"),
    Spec::gain("tcp-between", "TCP from a container to another", "Gbit/s"),
    Spec::cost("tcp-between-trip", "a byte from a container to another and back", "µs"),
];

/// What the probe calls them.
const KINDS: [&str; 2] = ["throughput", "round-trip"];

/// Where the container's server listens.
const PORT: &str = "7000";

/// A server in a container, one on the host, and clients that come and go.
pub fn figures(lab: &Lab) -> Result<Vec<Figure>> {
    if !SPECS.iter().any(|spec| lab.wants(spec)) {
        return Ok(Vec::new());
    }
    let host = Server::start()?;
    let engines = lab.engines(|engine| engine.offers(Ability::Work) && !engine.is_client_only());
    let take = |engine: &dyn Engine, round| {
        let name = format!("server-{round}");
        perform(engine, &Act::Work { name: &name, program: &["probe", "serve", PORT] })?;
        let samples = ways(engine, &name, &host.port);
        perform(engine, &Act::Remove { name: &name })?;
        samples
    };
    let measured = interleave(lab, &SPECS, &engines, false, take)?;
    let wanted = measured.into_iter().zip(SPECS).filter(|(_, spec)| lab.wants(spec));
    Ok(wanted.map(|(figure, _)| figure).collect())
}

/// One sample of each.
fn ways(engine: &dyn Engine, server: &str, host_port: &str) -> Result<Vec<Option<Sample>>> {
    let address = engine.address(server)?;
    let inside = |kind: &str, to: &str, port: &str| {
        let program = ["probe", "tcp", kind, to, port];
        probed(engine, engine.command(&Act::Run { network: Network::Bridge, program: &program })?, kind)
    };
    let outside = |kind: &str| {
        let mut command = Command::new(image::probe()?);
        command.args(["tcp", kind, &address, PORT]);
        probed(engine, command, kind)
    };
    let mut samples = Vec::new();
    for way in ["to", "from", "between"] {
        for kind in KINDS {
            samples.push(Some(match way {
                "to" => inside(kind, "host", host_port)?,
                "from" => outside(kind)?,
                _ => inside(kind, &address, PORT)?,
            }));
        }
    }
    Ok(samples)
}

/// The probe as a server on the host; ended when dropped.
struct Server {
    process: Child,
    port: String,
}

impl Server {
    fn start() -> Result<Self> {
        let mut process = Command::new(image::probe()?)
            .args(["serve", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut port)?;
        Ok(Self { process, port: port.trim().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        timed::end(&mut self.process);
    }
}
