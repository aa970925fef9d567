//! Work on a volume's files, from inside a container that runs already.

use anyhow::Result;

use super::engine::{Ability, Act, Engine, IDLE, VOLUME, perform, probed};
use super::figure::{Figure, Spec};
use super::interleave::interleave;
use super::lab::Lab;

/// With the probe's word for each. Each works on what the former has left.
const SPECS: [(&str, Spec); 5] = [
    ("create", Spec::cost("volume-create", "create 2,000 files on a volume", "ms")),
    ("find", Spec::cost("volume-find", "look at each of 2,000 files on a volume", "ms")),
    ("remove", Spec::cost("volume-remove", "remove 2,000 files on a volume", "ms")),
    ("write", Spec::cost("volume-write", "write 64 MiB to a volume", "ms")),
    ("read", Spec::cost("volume-read", "read 64 MiB from a volume", "ms")),
];

/// One container of each engine for each round.
pub fn figures(lab: &Lab) -> Result<Vec<Figure>> {
    if !SPECS.iter().any(|(_, spec)| lab.wants(spec)) {
        return Ok(Vec::new());
    }
    let mut engines: Vec<&dyn Engine> = vec![lab.native()];
    engines.extend(lab.engines(|engine| engine.offers(Ability::Work) && !engine.is_client_only()));
    // Without an engine, a directory of the same file system.
    let beside = lab.dir().join("files");
    std::fs::create_dir_all(&beside)?;
    let beside = beside.to_string_lossy().into_owned();
    let take = |engine: &dyn Engine, round| {
        let (name, contained) = (format!("files-{round}"), engine.offers(Ability::Work));
        if contained {
            perform(engine, &Act::Work { name: &name, program: &IDLE })?;
        }
        let work = |kind: &str| {
            let program = ["probe", "files", kind, if contained { VOLUME } else { &beside }];
            probed(engine, engine.command(&Act::Exec { name: &name, program: &program })?, kind)
        };
        let samples: Result<Vec<_>> = SPECS.iter().map(|(kind, _)| work(kind).map(Some)).collect();
        if contained {
            perform(engine, &Act::Remove { name: &name })?;
        }
        samples
    };
    let measured = interleave(lab, &SPECS.map(|(_, spec)| spec), &engines, false, take)?;
    let wanted = measured.into_iter().zip(SPECS).filter(|(_, (_, spec))| lab.wants(spec));
    Ok(wanted.map(|(figure, _)| figure).collect())
}
