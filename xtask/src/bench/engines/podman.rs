//! Podman: no daemon; each command does the work, and a conmon stays with each container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::super::engine::{ADDRESS, Ability, Act, Engine, FILES, IDLE, pid};
use super::super::timed;
use crate::cpu::CpuMeter;

/// Podman on roots of its own.
pub struct Podman {
    dir: PathBuf,
    group: String,
    meter: CpuMeter,
}

impl Podman {
    /// With everything of it in `dir`.
    pub fn new(dir: &Path, group: &str) -> Result<Self> {
        let dir = dir.join("podman");
        fs::create_dir_all(&dir)?;
        let meter = CpuMeter::new(&format!("{group}/podman"), None)?;
        Ok(Self { dir, group: format!("/{group}/podman"), meter })
    }

    fn client(&self, words: &[&str]) -> Command {
        let mut command = Command::new("podman");
        for (flag, place) in
            [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp"), ("--network-config-dir", "net")]
        {
            command.arg(flag).arg(self.dir.join(place));
        }
        command
            .args(["--cgroup-manager=cgroupfs", "--runtime=runc", "--events-backend=none"])
            .args(["--storage-driver=overlay", "--network-backend=netavark"])
            .args(words)
            .env("HOME", &self.dir);
        command
    }
}

impl Engine for Podman {
    fn name(&self) -> String {
        "podman + runc".to_owned()
    }

    fn offers(&self, _: Ability) -> bool {
        true
    }

    fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    fn command(&self, act: &Act) -> Result<Command> {
        let group = format!("--cgroup-parent={}", self.group);
        // What the usual defaults ask for may be more than this host's hard limits.
        let common =
            ["--pull=never", &group, "--ulimit=nofile=1024:4096", "--ulimit=nproc=1024:4096", "--network"];
        let archive;
        let words = match *act {
            Act::Run { network, program } => {
                [&["run", "--rm"], &common[..], &[network.word(), "bench"], program].concat()
            }
            Act::Start { name, network } => {
                [&["run", "-d", "--name", name], &common[..], &[network.word(), "bench"], &IDLE].concat()
            }
            Act::Work { name, program } => {
                let flags = ["run", "-d", "--name", name, "--volume", FILES];
                [&flags[..], &common[..], &["bridge", "bench"], program].concat()
            }
            Act::Exec { name, program } => [&["exec", name], program].concat(),
            // Docker's `rm -f` does not ask the program first, either.
            Act::Remove { name } => vec!["rm", "-f", "-t", "0", name],
            Act::Load { archive: file } => {
                archive = file.to_string_lossy();
                vec!["load", "-i", &archive]
            }
            Act::Pull { reference } => vec!["pull", "--tls-verify=false", reference],
            Act::Forget { reference } => vec!["rmi", reference],
        };
        Ok(self.client(&words))
    }

    fn processes(&self, name: &str) -> Result<Vec<u32>> {
        let (_, text) = timed::run(self.client(&["inspect", "--format", "{{.State.ConmonPid}}", name]))?;
        Ok(vec![pid(&text)?])
    }

    fn address(&self, name: &str) -> Result<String> {
        Ok(timed::run(self.client(&["inspect", "--format", ADDRESS, name]))?.1)
    }

    fn version(&self) -> String {
        timed::run(self.client(&["--version"])).map_or_else(|error| format!("{error:#}"), |(_, text)| text)
    }
}
