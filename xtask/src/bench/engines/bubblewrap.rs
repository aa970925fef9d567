//! Bubblewrap: namespaces around a program, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::super::engine::{Ability, Act, Engine, Network};
use super::super::timed;
use crate::cpu::CpuMeter;

/// Bubblewrap around the image's files.
pub struct Bubblewrap {
    root: PathBuf,
    meter: CpuMeter,
}

impl Bubblewrap {
    /// Around the files of `root`.
    pub fn new(group: &str, root: &Path) -> Result<Self> {
        Ok(Self { root: root.to_owned(), meter: CpuMeter::new(&format!("{group}/bubblewrap"), None)? })
    }
}

impl Engine for Bubblewrap {
    fn name(&self) -> String {
        "bubblewrap".to_owned()
    }

    fn offers(&self, ability: Ability) -> bool {
        ability == Ability::Run(Network::None)
    }

    fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    fn command(&self, act: &Act) -> Result<Command> {
        let Act::Run { program, .. } = *act else { bail!("bubblewrap only runs") };
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--ro-bind"]).arg(&self.root).args(["/", "--proc", "/proc"]);
        command.args(["--dev", "/dev", "--tmpfs", "/tmp", "--setenv", "PATH", "/bin"]).args(program);
        Ok(command)
    }

    fn processes(&self, _: &str) -> Result<Vec<u32>> {
        bail!("bubblewrap keeps nothing")
    }

    fn version(&self) -> String {
        let mut command = Command::new("bwrap");
        command.arg("--version");
        timed::run(command).map_or_else(|error| format!("{error:#}"), |(_, text)| text)
    }
}
