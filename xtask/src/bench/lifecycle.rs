//! Whole commands, from the start of the client to its end, as a user's script sees them.

use anyhow::Result;

use super::engine::{Ability, Act, Engine, Network, measured, perform};
use super::figure::{Figure, Spec};
use super::interleave::interleave;
use super::lab::Lab;

const RUN: [(Network, Spec); 2] = [
    (Network::Bridge, Spec::cost("run-bridge", "run --rm true, bridge network", "ms")),
    (Network::None, Spec::cost("run-none", "run --rm true, no network", "ms")),
];

const KEEP: [(Network, [Spec; 3]); 2] = [
    (
        Network::Bridge,
        [
            Spec::cost("start-bridge", "run -d, bridge network", "ms"),
            Spec::cost("exec-bridge", "exec true, bridge network", "ms"),
            Spec::cost("remove-bridge", "rm -f of a running container, bridge network", "ms"),
        ],
    ),
    (
        Network::None,
        [
            Spec::cost("start-none", "run -d, no network", "ms"),
            Spec::cost("exec-none", "exec true, no network", "ms"),
            Spec::cost("remove-none", "rm -f of a running container, no network", "ms"),
        ],
    ),
];

/// Start, exec and stop.
pub fn figures(lab: &Lab) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (network, spec) in RUN {
        if lab.wants(&spec) {
            let mut engines = lab.engines(|engine| engine.offers(Ability::Run(network)));
            if lab.native().offers(Ability::Run(network)) {
                // What starting a program costs without any engine.
                engines.insert(0, lab.native());
            }
            let run = |engine: &dyn Engine, _| {
                Ok(vec![Some(measured(engine, &Act::Run { network, program: &["true"] })?)])
            };
            figures.extend(interleave(lab, &[spec], &engines, true, run)?);
        }
    }
    for (network, specs) in KEEP {
        if specs.iter().any(|spec| lab.wants(spec)) {
            let engines = lab.engines(|engine| engine.offers(Ability::Keep(network)));
            let keep = |engine: &dyn Engine, round| {
                let name = format!("keep-{}-{round}", network.word());
                let start = measured(engine, &Act::Start { name: &name, network })?;
                let exec = measured(engine, &Act::Exec { name: &name, program: &["true"] });
                if exec.is_err() {
                    perform(engine, &Act::Remove { name: &name })?;
                }
                let exec = exec?;
                let remove = measured(engine, &Act::Remove { name: &name })?;
                Ok(vec![Some(start), Some(exec), Some(remove)])
            };
            let measured = interleave(lab, &specs, &engines, true, keep)?;
            let wanted = measured.into_iter().zip(specs).filter(|(_, spec)| lab.wants(spec));
            figures.extend(wanted.map(|(figure, _)| figure));
        }
    }
    Ok(figures)
}
