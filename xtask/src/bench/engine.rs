//! What the figures ask of an engine, ours or a peer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::figure::Sample;
use super::timed;
use crate::cpu::CpuMeter;

/// A container's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The engine's usual one: a bridge and NAT.
    Bridge,
    /// Its own, with nothing in it.
    None,
}

impl Network {
    /// As a flag has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::None => "none",
        }
    }
}

/// What an engine may be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Run a program in a new container and remove it.
    Run(Network),
    /// Keep a container running, work in it, and remove it.
    Keep(Network),
    /// Keep a container with a volume that other machines of its network reach.
    Work,
    /// Take images from an archive and a registry.
    Images,
}

/// One command of an engine.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    /// Run a program in a new container to its end, and remove the container.
    Run { network: Network, program: &'a [&'a str] },
    /// Start a container that sleeps.
    Start { name: &'a str, network: Network },
    /// Start one on the usual network with a volume at [`VOLUME`] and a program in it.
    Work { name: &'a str, program: &'a [&'a str] },
    /// Run a program in it.
    Exec { name: &'a str, program: &'a [&'a str] },
    /// Remove it while it runs.
    Remove { name: &'a str },
    /// Take an image from an archive, as `docker save` writes it.
    Load { archive: &'a Path },
    /// Take an image from a registry on loopback, without TLS.
    Pull { reference: &'a str },
    /// Remove an image.
    Forget { reference: &'a str },
}

/// What keeps a container running.
pub const IDLE: [&str; 2] = ["sleep", "100000"];

/// Where the volume of [`Act::Work`] is.
pub const VOLUME: &str = "/volume";

/// Its volume as Docker's flag has it.
pub const FILES: &str = "files:/volume";

/// The template that makes `inspect` print an address.
pub const ADDRESS: &str = "{{.NetworkSettings.IPAddress}}";

/// An engine, ready to work.
pub trait Engine {
    /// As it is named in figures.
    fn name(&self) -> String;

    /// Whether it is this project's.
    fn is_ours(&self) -> bool {
        false
    }

    /// The isolation level, of ours.
    fn level(&self) -> Option<&'static str> {
        None
    }

    /// Whether a start takes seconds, so that there are fewer of them.
    fn is_slow(&self) -> bool {
        false
    }

    /// Whether it is another client of an engine that is there already: measured in commands only.
    fn is_client_only(&self) -> bool {
        false
    }

    /// What it can do.
    fn offers(&self, ability: Ability) -> bool;

    /// Counts its CPU time.
    fn meter(&self) -> &CpuMeter;

    /// The command for an act, which the engine offers.
    fn command(&self, act: &Act) -> Result<Command>;

    /// The processes whose trees a running container keeps in memory.
    fn processes(&self, name: &str) -> Result<Vec<u32>>;

    /// A running container's address on the usual network.
    fn address(&self, _name: &str) -> Result<String> {
        bail!("{} has no network", self.name())
    }

    /// Its daemons: the processes that are there without a container.
    fn daemons(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Which program, of which version.
    fn version(&self) -> String;
}

/// Acts, unmeasured; what was printed.
pub fn perform(engine: &dyn Engine, act: &Act) -> Result<String> {
    engine.meter().enter()?;
    Ok(timed::run(engine.command(act)?)?.1)
}

/// Acts; wall milliseconds of the command, and CPU time until the engine is at rest again.
pub fn measured(engine: &dyn Engine, act: &Act) -> Result<Sample> {
    let command = engine.command(act)?;
    let (wall, _, cpu_ms) = metered(engine, command)?;
    Ok(Sample { value: wall.as_secs_f64() * 1e3, cpu_ms: Some(cpu_ms) })
}

/// Runs a command on an engine's account: how long it took, what it printed, and CPU milliseconds until the engine is at
/// rest again.
fn metered(engine: &dyn Engine, command: Command) -> Result<(Duration, String, f64)> {
    engine.meter().enter()?;
    let before = engine.meter().nanoseconds();
    let (wall, printed) = timed::run(command)?;
    let cpu = engine.meter().settled() - before;
    Ok((wall, printed, milliseconds(cpu)))
}

/// Runs the probe on an engine's account; its own number, which it prints after this word.
pub fn probed(engine: &dyn Engine, command: Command, word: &str) -> Result<Sample> {
    let (_, printed, cpu) = metered(engine, command)?;
    match printed.strip_prefix(word).and_then(|text| text.trim().parse().ok()) {
        Some(value) => Ok(Sample { value, cpu_ms: Some(cpu) }),
        None => bail!("the probe printed {printed:?}"),
    }
}

/// Nanoseconds as milliseconds.
pub fn milliseconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64() * 1e3
}

/// A PID in a command's output.
pub fn pid(text: &str) -> Result<u32> {
    match text.trim().parse() {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => bail!("no PID: {text:?}"),
    }
}
