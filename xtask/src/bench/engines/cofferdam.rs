//! Our engine: one daemon, at either level, through our own client or the stock one.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use cofferdam_tests::{Daemon, Programs};

use super::super::engine::{Ability, Act, Engine, FILES, IDLE};
use super::super::programs::TRIMMED;
use super::super::timed;
use crate::cpu::CpuMeter;
use crate::project::{release, which};

/// The daemon and its meter.
pub struct Host {
    daemon: Daemon,
    meter: CpuMeter,
    /// What its VMs boot, when it is not the distribution's kernel.
    kernel: Option<&'static str>,
}

impl Host {
    /// Starts it with everything of it in `dir`; `instance` is its name on the host.
    pub fn start(dir: &Path, group: &str, instance: &str) -> Result<Self> {
        Self::start_as(dir, "cofferdam", group, instance, &[], None)
    }

    /// One more, whose VMs boot the trimmed kernel.
    pub fn start_trimmed(dir: &Path, group: &str, instance: &str) -> Result<Self> {
        let guest = dir.join(TRIMMED);
        let flags = ["--guest", guest.to_str().context("the directory's name is no text")?];
        Self::start_as(dir, "cofferdam-trimmed", group, instance, &flags, Some("trimmed kernel"))
    }

    fn start_as(
        dir: &Path,
        name: &str,
        group: &str,
        instance: &str,
        flags: &[&str],
        kernel: Option<&'static str>,
    ) -> Result<Self> {
        let programs = Programs {
            daemon: release().join("cofferdamd"),
            cofferdam: release().join("cofferdam"),
            docker: which("docker").unwrap_or_default(),
        };
        let meter = CpuMeter::new(&format!("{group}/{name}"), Some(&format!("cofferdam-{instance}")))?;
        let daemon = Daemon::at(dir.join(name), instance, programs, flags)?;
        meter.enter()?;
        daemon.launch(&[])?;
        Ok(Self { daemon, meter, kernel })
    }

    /// Ends it and looks at what is left.
    pub fn finish(&self) -> Result<()> {
        self.daemon.remove_everything()
    }
}

/// The daemon as one contestant sees it.
pub struct Cofferdam {
    pub host: Rc<Host>,
    pub level: &'static str,
    /// Through the stock docker CLI.
    pub stock: bool,
}

impl Engine for Cofferdam {
    fn name(&self) -> String {
        let kernel = self.host.kernel.map_or(String::new(), |kernel| format!(", {kernel}"));
        format!("cofferdam {}{}{kernel}", self.level, if self.stock { ", docker CLI" } else { "" })
    }

    fn is_ours(&self) -> bool {
        true
    }

    fn level(&self) -> Option<&'static str> {
        Some(self.level)
    }

    fn is_slow(&self) -> bool {
        self.level == "hyperv"
    }

    fn is_client_only(&self) -> bool {
        self.stock
    }

    fn offers(&self, ability: Ability) -> bool {
        // Images are the same for both levels.
        ability != Ability::Images || (self.level == "process" && !self.stock)
    }

    fn meter(&self) -> &CpuMeter {
        &self.host.meter
    }

    fn command(&self, act: &Act) -> Result<Command> {
        let level = format!("--isolation={}", self.level);
        let archive;
        let words = match *act {
            Act::Run { network, program } => {
                [&["run", "--rm", &level, "--network", network.word(), "bench"], program].concat()
            }
            Act::Start { name, network } => {
                let flags = ["run", "-d", "--name", name, &level, "--network", network.word(), "bench"];
                [&flags[..], &IDLE].concat()
            }
            Act::Work { name, program } => {
                let flags = ["run", "-d", "--name", name, &level, "--volume", FILES, "bench"];
                [&flags[..], program].concat()
            }
            Act::Exec { name, program } => [&["exec", name], program].concat(),
            Act::Remove { name } => vec!["rm", "-f", name],
            Act::Load { archive: file } => {
                archive = file.to_string_lossy();
                vec!["load", "-i", &archive]
            }
            Act::Pull { reference } => vec!["pull", reference],
            Act::Forget { reference } => vec!["rmi", reference],
        };
        let daemon = &self.host.daemon;
        Ok(if self.stock { daemon.docker(&words) } else { daemon.cofferdam(&words) }.into_command())
    }

    fn processes(&self, name: &str) -> Result<Vec<u32>> {
        let id = self.host.daemon.inspect(name)?["Id"].as_str().context("no Id")?.to_owned();
        let file = self.host.daemon.exec_root().join("containers").join(&id).join("shim.pid");
        let shim = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut pids = vec![shim.trim().parse().context("shim.pid")?];
        if let Some(worker) = self.host.daemon.inspect(&id)?["Cofferdam"]["WorkerPid"].as_u64() {
            pids.push(u32::try_from(worker)?);
        } else if self.level == "hyperv" {
            bail!("no VM worker");
        }
        Ok(pids)
    }

    fn address(&self, name: &str) -> Result<String> {
        let inspected = self.host.daemon.inspect(name)?;
        let address = inspected["NetworkSettings"]["IPAddress"].as_str();
        Ok(address.context("no address")?.to_owned())
    }

    fn daemons(&self) -> Vec<u32> {
        self.host.daemon.pid().into_iter().collect()
    }

    fn version(&self) -> String {
        let mut command = Command::new(release().join("cofferdamd"));
        command.arg("--version");
        timed::run(command).map_or_else(|error| format!("{error:#}"), |(_, text)| text)
    }
}
