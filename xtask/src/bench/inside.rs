//! What the kernel that a container sees costs: the probe's timings, inside and outside.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::engine::{Ability, Act, Engine, Network, perform};
use super::figure::{Figure, Sample, Spec};
use super::interleave::interleave;
use super::lab::Lab;

/// With the probe's name for each.
const SPECS: [(&str, Spec); 7] = [
    ("getppid", Spec::cost("inside-getppid", "getppid, inside", "ns")),
    ("open-close", Spec::cost("inside-open", "open and close a file of the image, inside", "µs")),
    ("fork", Spec::cost("inside-fork", "fork and wait, inside", "µs")),
    ("page-fault", Spec::cost("inside-fault", "page fault, inside", "µs")),
    ("pipe", Spec::cost("inside-pipe", "a byte to another process and back, inside", "µs")),
    ("sort", Spec::cost("inside-sort", "sort a million numbers, inside", "ms")),
    ("tcp", Spec::gain("inside-tcp", "TCP from inside to the host", "Gbit/s")),
];

/// One run of the probe gives one sample of each.
pub fn figures(lab: &Lab) -> Result<Vec<Figure>> {
    if !SPECS.iter().any(|(_, spec)| lab.wants(spec)) {
        return Ok(Vec::new());
    }
    let port = sink()?.to_string();
    let mut engines: Vec<&dyn Engine> = vec![lab.native()];
    engines.extend(lab.engines(|engine| !engine.is_client_only()));
    let take = |engine: &dyn Engine, _| {
        let network =
            if engine.offers(Ability::Run(Network::Bridge)) { Network::Bridge } else { Network::None };
        let printed = perform(engine, &Act::Run { network, program: &["probe", &port] })?;
        let value = |name: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|text| text.trim().parse::<f64>().ok()).map(Sample::from)
        };
        Ok(SPECS.iter().map(|(name, _)| value(name)).collect())
    };
    let specs = SPECS.map(|(_, spec)| spec);
    let measured = interleave(lab, &specs, &engines, false, take)?;
    Ok(measured
        .into_iter()
        .zip(specs)
        .filter(|(_, spec)| lab.wants(spec))
        .map(|(figure, _)| figure)
        .collect())
}

/// Takes whatever is sent to a port of the host, for as long as this process lives.
fn sink() -> Result<u16> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || swallow(stream));
        }
    });
    Ok(port)
}

fn swallow(mut stream: TcpStream) {
    // A container that is removed meanwhile says nothing any more.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
    let mut buffer = vec![0; 256 << 10];
    while let Ok(1..) = stream.read(&mut buffer) {}
    let _ = stream.write_all(&[0]);
}
