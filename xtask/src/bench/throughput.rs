//! How many containers a second: several clients at once, each running one container after the other.

use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::engine::{Ability, Act, Engine, Network, milliseconds};
use super::figure::{Figure, Sample, Spec};
use super::interleave::{interleave, is_left_out};
use super::lab::Lab;
use super::timed;

const SPECS: [(usize, Spec); 3] = [
    (1, Spec::gain("throughput-1", "run --rm true, no network, one at a time", "containers/s")),
    (4, Spec::gain("throughput-4", "run --rm true, no network, 4 at a time", "containers/s")),
    (8, Spec::gain("throughput-8", "run --rm true, no network, 8 at a time", "containers/s")),
];

/// At 1, 4 and 8 at a time.
pub fn figures(lab: &Lab) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (parallel, spec) in SPECS {
        if lab.wants(&spec) {
            let able =
                |engine: &dyn Engine| engine.offers(Ability::Run(Network::None)) && !engine.is_client_only();
            let engines = lab.engines(able);
            let take = |engine: &dyn Engine, round| {
                Ok(vec![if is_left_out(round) { None } else { Some(rate(engine, parallel)?) }])
            };
            figures.extend(interleave(lab, &[spec], &engines, false, take)?);
        }
    }
    Ok(figures)
}

/// Containers per second, and CPU time of each.
fn rate(engine: &dyn Engine, parallel: usize) -> Result<Sample> {
    let each =
        if engine.is_slow() { if parallel == 1 { 2 } else { 1 } } else { 8_usize.div_ceil(parallel).max(3) };
    let act = Act::Run { network: Network::None, program: &["true"] };
    let mut clients: Vec<Vec<Command>> = Vec::new();
    for _ in 0..parallel {
        clients.push((0..each).map(|_| engine.command(&act)).collect::<Result<_>>()?);
    }
    engine.meter().enter()?;
    let (cpu, start) = (engine.meter().nanoseconds(), Instant::now());
    let clients: Vec<_> = clients
        .into_iter()
        .map(|commands| {
            thread::spawn(move || commands.into_iter().try_for_each(|command| timed::run(command).map(drop)))
        })
        .collect();
    let outcomes: Vec<Result<()>> = clients
        .into_iter()
        .map(|client| client.join().unwrap_or_else(|_panic| Err(anyhow!("a client panicked"))))
        .collect();
    let seconds = start.elapsed().as_secs_f64();
    let cpu = engine.meter().settled() - cpu;
    outcomes.into_iter().collect::<Result<()>>()?;
    let count = f64::from(u32::try_from(parallel * each)?);
    Ok(Sample { value: count / seconds, cpu_ms: Some(milliseconds(cpu) / count) })
}
