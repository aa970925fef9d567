//! runc alone, on a bundle: no images, no network, nobody who watches the container.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::super::engine::{Ability, Act, Engine, IDLE, Network, pid};
use super::super::timed;
use crate::cpu::CpuMeter;

/// runc with a state directory of its own.
pub struct Runc {
    dir: PathBuf,
    specification: Value,
    meter: CpuMeter,
    count: Cell<usize>,
}

impl Runc {
    /// With everything of it in `dir`, and containers that share the files of `root`.
    pub fn new(dir: &Path, group: &str, root: &Path) -> Result<Self> {
        let dir = dir.join("runc");
        fs::create_dir_all(dir.join("bundles"))?;
        let meter = CpuMeter::new(&format!("{group}/runc"), None)?;
        let mut command = Command::new("runc");
        command.arg("spec").current_dir(&dir);
        timed::run(command)?;
        let text = fs::read_to_string(dir.join("config.json")).context("runc spec")?;
        let mut specification: Value = serde_json::from_str(&text)?;
        specification["root"] = json!({"path": root, "readonly": true});
        specification["process"]["terminal"] = json!(false);
        Ok(Self { dir, specification, meter, count: Cell::new(0) })
    }

    /// A bundle, which an engine would have to make, too; here it is not measured.
    fn bundle(&self, name: &str, program: &[&str]) -> Result<PathBuf> {
        let bundle = self.dir.join("bundles").join(name);
        fs::create_dir_all(&bundle)?;
        let mut specification = self.specification.clone();
        specification["process"]["args"] = json!(program);
        fs::write(bundle.join("config.json"), specification.to_string())?;
        Ok(bundle)
    }

    fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.dir.join("state")).args(words);
        command
    }
}

impl Engine for Runc {
    fn name(&self) -> String {
        "runc on a bundle".to_owned()
    }

    fn offers(&self, ability: Ability) -> bool {
        matches!(ability, Ability::Run(Network::None) | Ability::Keep(Network::None))
    }

    fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    fn command(&self, act: &Act) -> Result<Command> {
        Ok(match *act {
            Act::Run { program, .. } => {
                self.count.set(self.count.get() + 1);
                let name = format!("r{}", self.count.get());
                let mut command = self.client(&["run", "--bundle"]);
                command.arg(self.bundle(&name, program)?).arg(name);
                command
            }
            Act::Start { name, .. } => {
                let mut command = self.client(&["run", "--detach", "--bundle"]);
                command.arg(self.bundle(name, &IDLE)?).arg(name);
                command
            }
            Act::Exec { name, program } => self.client(&[&["exec", name], program].concat()),
            Act::Remove { name } => self.client(&["delete", "--force", name]),
            _ => bail!("runc has no images"),
        })
    }

    fn processes(&self, name: &str) -> Result<Vec<u32>> {
        let (_, text) = timed::run(self.client(&["state", name]))?;
        let state: Value = serde_json::from_str(&text)?;
        Ok(vec![pid(&state["pid"].to_string())?])
    }

    fn version(&self) -> String {
        let told = timed::run(self.client(&["--version"]));
        told.map_or_else(
            |error| format!("{error:#}"),
            |(_, text)| text.lines().next().unwrap_or_default().to_owned(),
        )
    }
}
