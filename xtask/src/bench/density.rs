//! Many idle containers: how long each takes to start beside the others, and what it keeps in memory.

use anyhow::{Result, ensure};

use super::engine::{Ability, Act, Engine, Network, measured, perform};
use super::figure::{Figure, Sample, Spec};
use super::lab::Lab;
use crate::memory::pss_of_trees;

const START: Spec = Spec::cost("density-start", "run -d, one after another, all of them staying", "ms");
const MEMORY: Spec = Spec::cost("density-memory", "memory of each of many idle containers", "MiB PSS");
const DAEMON: Spec = Spec::cost("daemon-memory", "memory of the daemons, without a container", "MiB PSS");

/// The daemons alone; measured first, when each has taken the image and run one container.
pub fn daemons(lab: &Lab) -> Vec<Figure> {
    if !lab.wants(&DAEMON) {
        return Vec::new();
    }
    let mut figure = Figure::new(&DAEMON);
    let mut seen = Vec::new();
    for engine in lab.engines(|engine| !engine.daemons().is_empty()) {
        let daemons = engine.daemons();
        // Several contestants share one.
        if !seen.contains(&daemons) {
            let name = engine.name();
            let name = if engine.is_ours() { "cofferdam" } else { name.split(' ').next().unwrap_or(&name) };
            figure.add(name, engine.is_ours(), &[pss_of_trees(&daemons).into()], None);
            seen.push(daemons);
        }
    }
    vec![figure]
}

/// As many containers of each engine as asked for.
pub fn figures(lab: &Lab) -> Result<Vec<Figure>> {
    let specs = [START, MEMORY];
    if !specs.iter().any(|spec| lab.wants(spec)) {
        return Ok(Vec::new());
    }
    let mut figures = specs.map(|spec| Figure::new(&spec));
    let able = |engine: &dyn Engine| engine.offers(Ability::Keep(Network::None)) && !engine.is_client_only();
    for engine in lab.engines(able) {
        ensure!(!lab.is_interrupted(), "interrupted");
        let (mut starts, mut memory) = (Vec::new(), Vec::new());
        let outcome = crowd(engine, lab.crowd(engine), &mut starts, &mut memory);
        let failed = outcome.err().map(|error| format!("{error:#}"));
        figures[0].add(&engine.name(), engine.is_ours(), &starts, failed.clone());
        figures[1].add(&engine.name(), engine.is_ours(), &memory, failed);
    }
    Ok(figures.into_iter().zip(specs).filter(|(_, spec)| lab.wants(spec)).map(|(figure, _)| figure).collect())
}

fn crowd(
    engine: &dyn Engine,
    count: usize,
    starts: &mut Vec<Sample>,
    memory: &mut Vec<Sample>,
) -> Result<()> {
    let names: Vec<String> = (0..count).map(|number| format!("crowd-{number}")).collect();
    let mut outcome = Ok(());
    let mut started = 0;
    for name in &names {
        match measured(engine, &Act::Start { name, network: Network::None }) {
            Ok(sample) => starts.push(sample),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
        started += 1;
    }
    for name in &names[..started] {
        match engine.processes(name) {
            Ok(pids) => memory.push(pss_of_trees(&pids).into()),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    for name in &names[..started] {
        perform(engine, &Act::Remove { name })?;
    }
    outcome
}
