//! No engine: a program of the image, on the host. What everything else is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::super::engine::{Ability, Act, Engine, Network};
use crate::cpu::CpuMeter;

/// The image's files, as they are.
pub struct Native {
    root: PathBuf,
    meter: CpuMeter,
}

impl Native {
    /// With the programs of `root`.
    pub fn new(group: &str, root: &Path) -> Result<Self> {
        Ok(Self { root: root.to_owned(), meter: CpuMeter::new(&format!("{group}/native"), None)? })
    }
}

impl Engine for Native {
    fn name(&self) -> String {
        "no container".to_owned()
    }

    fn offers(&self, ability: Ability) -> bool {
        ability == Ability::Run(Network::None)
    }

    fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    fn command(&self, act: &Act) -> Result<Command> {
        let (Act::Run { program, .. } | Act::Exec { program, .. }) = *act else {
            bail!("a program only runs")
        };
        let [program, arguments @ ..] = program else { bail!("no program") };
        let mut command = Command::new(self.root.join("bin").join(program));
        command.args(arguments);
        Ok(command)
    }

    fn processes(&self, _: &str) -> Result<Vec<u32>> {
        bail!("a program keeps nothing")
    }

    fn version(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
    }
}
