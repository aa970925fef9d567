//! Everything that a run found out, and the files that tell it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::figure::Figure;
use super::host::Facts;
use super::peers::Absent;
use super::{chart, table};

/// A run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub host: Facts,
    /// Who.
    pub engines: Vec<Contestant>,
    /// Who not, and why.
    pub absent: Vec<Absent>,
    /// What.
    pub figures: Vec<Figure>,
}

/// An engine of a run.
#[derive(Debug, Serialize)]
pub struct Contestant {
    /// As in the figures.
    pub engine: String,
    /// Whether it is this project's.
    pub ours: bool,
    /// Its isolation level, of ours.
    pub level: Option<&'static str>,
    /// What it says about itself.
    pub version: String,
}

impl Report {
    /// Writes the numbers, the table and the charts; the table.
    pub fn write(&self, dir: &Path) -> Result<String> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let write = |name: &str, text: &str| {
            let file = dir.join(name);
            fs::write(&file, text).with_context(|| file.display().to_string())
        };
        let text = table::table(self);
        write("bench.json", &serde_json::to_string_pretty(self)?)?;
        write("bench.txt", &text)?;
        for figure in self.figures.iter().filter(|figure| !figure.rows.is_empty()) {
            write(&format!("{}.svg", figure.name), &chart::chart(figure))?;
        }
        Ok(text)
    }
}
