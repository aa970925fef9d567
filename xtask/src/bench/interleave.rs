//! One sample of each engine in turn, again and again, so that whatever else the machine does hits all alike.

use anyhow::{Result, ensure};

use super::engine::Engine;
use super::figure::{Figure, Sample, Spec};
use super::lab::Lab;

/// Whether a round is left out: what takes seconds is done in every fourth only.
pub fn is_left_out(round: usize) -> bool {
    !round.saturating_sub(1).is_multiple_of(4)
}

/// An engine with what it has given so far.
struct Contestant<'a> {
    engine: &'a dyn Engine,
    runs: usize,
    samples: Vec<Vec<Sample>>,
    failed: Option<String>,
}

/// Takes samples of `specs` together: one call of `take` gives one sample of each, or none where the engine has no such
/// thing. The first round is not counted if `warm` is set. An engine that fails says why and is out.
pub fn interleave(
    lab: &Lab,
    specs: &[Spec],
    engines: &[&dyn Engine],
    warm: bool,
    take: impl Fn(&dyn Engine, usize) -> Result<Vec<Option<Sample>>>,
) -> Result<Vec<Figure>> {
    let mut contestants: Vec<Contestant> = engines
        .iter()
        .map(|&engine| Contestant {
            engine,
            runs: lab.runs(engine),
            samples: vec![Vec::new(); specs.len()],
            failed: None,
        })
        .collect();
    let first = usize::from(!warm);
    let rounds = contestants.iter().map(|contestant| contestant.runs).max().unwrap_or_default();
    for round in first..=rounds {
        for contestant in &mut contestants {
            if contestant.failed.is_some() || round > contestant.runs {
                continue;
            }
            ensure!(!lab.is_interrupted(), "interrupted");
            match take(contestant.engine, round) {
                Ok(samples) if round > 0 => {
                    for (all, sample) in contestant.samples.iter_mut().zip(samples) {
                        all.extend(sample);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    eprintln!("  {}: {error:#}", contestant.engine.name());
                    contestant.failed = Some(format!("{error:#}"));
                }
            }
        }
    }
    let figures = specs.iter().enumerate().map(|(place, spec)| {
        let mut figure = Figure::new(spec);
        for contestant in &contestants {
            let samples = &contestant.samples[place];
            // Nothing at all is a thing that this engine does not have.
            if !samples.is_empty() || contestant.failed.is_some() {
                let Contestant { engine, failed, .. } = contestant;
                figure.add(&engine.name(), engine.is_ours(), samples, failed.clone());
            }
        }
        figure
    });
    Ok(figures.collect())
}

#[cfg(test)]
mod tests {
    use super::is_left_out;

    #[test]
    fn the_first_round_is_never_left_out() {
        let taken: Vec<usize> = (1..10).filter(|&round| !is_left_out(round)).collect();
        assert_eq!(taken, [1, 5, 9]);
    }
}
