//! What is measured, and what came out.

use serde::Serialize;

use super::stats::Stats;

/// A figure before it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// What `--only` selects by; also the chart's file name.
    pub name: &'static str,
    /// What a reader sees.
    pub title: &'static str,
    /// What its numbers are in.
    pub unit: &'static str,
    /// Whether more is better.
    pub more_is_better: bool,
}

impl Spec {
    /// One whose numbers are costs.
    pub const fn cost(name: &'static str, title: &'static str, unit: &'static str) -> Self {
        Self { name, title, unit, more_is_better: false }
    }

    /// One whose numbers are gains.
    pub const fn gain(name: &'static str, title: &'static str, unit: &'static str) -> Self {
        Self { name, title, unit, more_is_better: true }
    }
}

/// One number taken.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// In the figure's unit.
    pub value: f64,
    /// CPU time of everything that it caused.
    pub cpu_ms: Option<f64>,
}

impl From<f64> for Sample {
    fn from(value: f64) -> Self {
        Self { value, cpu_ms: None }
    }
}

/// A measured figure.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// See [`Spec::name`].
    pub name: &'static str,
    /// See [`Spec::title`].
    pub title: &'static str,
    /// See [`Spec::unit`].
    pub unit: &'static str,
    /// See [`Spec::more_is_better`].
    pub more_is_better: bool,
    /// One for each engine that has this figure.
    pub rows: Vec<Row>,
}

/// One engine's part of a figure.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The engine.
    pub engine: String,
    /// Whether it is this project's.
    pub ours: bool,
    /// The numbers; none if it failed before the first.
    pub value: Option<Stats>,
    /// CPU milliseconds for each, where they are counted.
    pub cpu_ms: Option<Stats>,
    /// Why there are fewer numbers than asked for.
    pub failed: Option<String>,
}

impl Figure {
    /// Without rows.
    pub fn new(spec: &Spec) -> Self {
        let Spec { name, title, unit, more_is_better } = *spec;
        Self { name, title, unit, more_is_better, rows: Vec::new() }
    }

    /// Adds an engine's samples.
    pub fn add(&mut self, engine: &str, ours: bool, samples: &[Sample], failed: Option<String>) {
        let values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        let cpu: Vec<f64> = samples.iter().filter_map(|sample| sample.cpu_ms).collect();
        let (value, cpu_ms) = (Stats::of(&values), Stats::of(&cpu));
        self.rows.push(Row { engine: engine.to_owned(), ours, value, cpu_ms, failed });
    }
}
