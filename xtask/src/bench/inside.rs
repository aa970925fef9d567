//! What the kernel that a container sees costs: the probe's timings, inside and outside.

use anyhow::Result;

use super::engine::{Act, Engine, Network, perform};
use super::figure::{Figure, Sample, Spec};
use super::interleave::interleave;
use super::lab::Lab;

/// With the probe's name for each.
const SPECS: [(&str, Spec); 6] = [
    ("getppid", Spec::cost("inside-getppid", "getppid, inside", "ns")),
    ("open-close", Spec::cost("inside-open", "open and close a file of the image, inside", "µs")),
    ("fork", Spec::cost("inside-fork", "fork and wait, inside", "µs")),
    ("page-fault", Spec::cost("inside-fault", "page fault, inside", "µs")),
    ("pipe", Spec::cost("inside-pipe", "a byte to another process and back, inside", "µs")),
    ("sort", Spec::cost("inside-sort", "sort a million numbers, inside", "ms")),
];

/// One run of the probe gives one sample of each.
pub fn figures(lab: &Lab) -> Result<Vec<Figure>> {
    if !SPECS.iter().any(|(_, spec)| lab.wants(spec)) {
        return Ok(Vec::new());
    }
    let mut engines: Vec<&dyn Engine> = vec![lab.native()];
    engines.extend(lab.engines(|engine| !engine.is_client_only()));
    let take = |engine: &dyn Engine, _| {
        let printed = perform(engine, &Act::Run { network: Network::None, program: &["probe"] })?;
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
