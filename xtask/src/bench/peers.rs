//! The engines that ours is measured beside: what installs them, and getting them ready.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::engine::{Ability, Act, Engine, Network, perform};
use super::engines::bubblewrap::Bubblewrap;
use super::engines::containerd::Containerd;
use super::engines::docker::{Docker, Dockerd};
use super::engines::podman::Podman;
use super::engines::runc::Runc;
use super::image::Small;
use crate::packages;
use crate::project::which;

/// Debian's names, and what each is for.
const PACKAGES: &[(&str, &str)] = &[
    ("docker.io", "Docker: engine and client"),
    ("containerd", "what Docker stands on, measured through its own client, too"),
    ("runc", "what starts containers for all of these, measured alone, too"),
    ("runsc", "gVisor: a kernel in user space, as a runtime of Docker"),
    ("podman", "an engine without a daemon"),
    ("netavark", "Podman's networks"),
    ("iptables", "the firewall rules of Docker and Podman"),
    ("bubblewrap", "namespaces and nothing else"),
];

/// `cargo xtask bench --install-peers`
pub fn install() -> Result<()> {
    let heading = "The benchmark's peers are these packages (no service of theirs is started):";
    packages::install_these(heading, PACKAGES)?;
    println!("installed: {}", PACKAGES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
    Ok(())
}

/// A peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Docker,
    Gvisor,
    Podman,
    Containerd,
    Runc,
    Bubblewrap,
}

impl Peer {
    /// All, in the order of tables and charts.
    pub const ALL: [Self; 6] =
        [Self::Docker, Self::Gvisor, Self::Podman, Self::Containerd, Self::Runc, Self::Bubblewrap];

    /// As `--peers` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Gvisor => "gvisor",
            Self::Podman => "podman",
            Self::Containerd => "ctr",
            Self::Runc => "runc",
            Self::Bubblewrap => "bwrap",
        }
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["dockerd", "docker", "containerd", "runc", "iptables"],
            Self::Gvisor => &["dockerd", "docker", "containerd", "runsc", "iptables"],
            Self::Podman => &["podman", "conmon", "runc"],
            Self::Containerd => &["containerd", "ctr", "runc"],
            Self::Runc => &["runc"],
            Self::Bubblewrap => &["bwrap"],
        }
    }

    /// `all`, `none`, or names with commas between.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        match text {
            "all" => Ok(Self::ALL.to_vec()),
            "none" => Ok(Vec::new()),
            names => names.split(',').map(Self::find).collect(),
        }
    }

    fn find(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|peer| peer.word() == name);
        let known = || format!("no peer is called {name:?}: {}", Self::ALL.map(Self::word).join(", "));
        found.with_context(known)
    }
}

/// A peer that was asked for and is not measured.
#[derive(Debug, Serialize)]
pub struct Absent {
    /// Which.
    pub peer: String,
    /// Why.
    pub reason: String,
}

/// The peers of a run.
pub struct Peers<'a> {
    dir: &'a Path,
    group: &'a str,
    image: &'a Small,
    dockerd: Option<Rc<Dockerd>>,
}

impl<'a> Peers<'a> {
    /// None yet.
    pub fn new(dir: &'a Path, group: &'a str, image: &'a Small) -> Self {
        Self { dir, group, image, dockerd: None }
    }

    /// Gets one ready, with the image in it and a first container behind it.
    pub fn open(&mut self, peer: Peer) -> Result<Box<dyn Engine>> {
        if let Some(missing) = peer.programs().iter().find(|program| which(program).is_none()) {
            bail!("not installed: {missing} was not found (cargo xtask bench --install-peers)");
        }
        let engine: Box<dyn Engine> = match peer {
            Peer::Docker => Box::new(Docker { dockerd: self.dockerd()?, gvisor: false }),
            Peer::Gvisor => Box::new(Docker { dockerd: self.dockerd()?, gvisor: true }),
            Peer::Podman => Box::new(Podman::new(self.dir, self.group)?),
            Peer::Containerd => Box::new(Containerd::start(self.dir, self.group)?),
            Peer::Runc => Box::new(Runc::new(self.dir, self.group, &self.image.root)?),
            Peer::Bubblewrap => Box::new(Bubblewrap::new(self.group, &self.image.root)?),
        };
        if engine.offers(Ability::Images) {
            perform(&*engine, &Act::Load { archive: &self.image.archive })?;
        }
        perform(&*engine, &Act::Run { network: Network::None, program: &["true"] })?;
        Ok(engine)
    }

    /// The one dockerd of Docker and gVisor.
    fn dockerd(&mut self) -> Result<Rc<Dockerd>> {
        if let Some(dockerd) = &self.dockerd {
            return Ok(Rc::clone(dockerd));
        }
        let dockerd = Rc::new(Dockerd::start(self.dir, self.group)?);
        self.dockerd = Some(Rc::clone(&dockerd));
        // Whichever of the two comes first.
        let docker = Docker { dockerd: Rc::clone(&dockerd), gvisor: false };
        perform(&docker, &Act::Load { archive: &self.image.archive })?;
        Ok(dockerd)
    }
}

#[cfg(test)]
mod tests {
    use super::Peer;

    #[test]
    fn peers_are_chosen_by_name() {
        assert_eq!(Peer::parse("none").unwrap(), []);
        assert_eq!(Peer::parse("all").unwrap().len(), 6);
        assert_eq!(Peer::parse("runc,docker").unwrap(), [Peer::Runc, Peer::Docker]);
        assert!(Peer::parse("rkt").unwrap_err().to_string().contains("podman"));
    }
}
