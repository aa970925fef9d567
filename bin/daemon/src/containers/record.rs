//! What is stored of a container: its specification, which changes rarely, and its status, which changes with every
//! event.

use cofferdam_api::{Owner, human_duration};
use cofferdam_model::{Interface, Isolation, PublishedPort, State, VmInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::config::{Config, HostConfig};
use super::health::Health;
use super::mounts::MountPoint;
use crate::networks::Endpoint;

/// A container's specification: what was asked for, completed from its image and the daemon's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The image's ID, `sha256:…`.
    pub image: String,
    /// When it was made.
    pub created: Timestamp,
    /// The level.
    pub isolation: Isolation,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// As `inspect` shows it.
    pub config: Config,
    /// As `inspect` shows it.
    pub host: HostConfig,
    /// Everything mounted but the engine's own files.
    pub mounts: Vec<MountPoint>,
    /// Its places in networks.
    pub endpoints: Vec<Endpoint>,
    /// Who has made it.
    #[serde(default)]
    pub owner: Owner,
}

impl Record {
    /// Its network mode: `bridge`, `none`, `host`, `container:…` or the name of a user's network.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.host.network_mode
    }
}

/// A network that a running container is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The network's ID.
    pub network: String,
    /// Whether the network leads out.
    pub leads_out: bool,
    /// The container's interface there.
    pub interface: Interface,
}

/// A container's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Where it is in its life.
    pub state: State,
    /// The init process on the host (at the hyperv level the VM worker); 0 when it does not run.
    pub pid: u32,
    /// The last exit code.
    pub exit_code: i32,
    /// Why the last start failed.
    pub error: String,
    /// Whether the OOM killer ended a process of it.
    pub oom_killed: bool,
    /// How often its memory has run out since its last start.
    #[serde(default)]
    pub ooms: u64,
    /// The last start.
    pub started: Option<Timestamp>,
    /// The last exit.
    pub finished: Option<Timestamp>,
    /// Restarts by policy since it was last started by hand.
    pub restarts: u32,
    /// It has exited and its restart policy will start it again.
    pub restarting: bool,
    /// It was stopped by hand: `unless-stopped` keeps it so when the daemon starts.
    pub stopped_by_hand: bool,
    /// It is being removed together with its anonymous volumes.
    #[serde(default)]
    pub remove_volumes: bool,
    /// Its networks, while it runs; kept afterwards to ask for the same addresses again.
    pub networks: Vec<Joined>,
    /// Its published ports, while it runs.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// Its utility VM, while it runs.
    pub vm: Option<VmInfo>,
    /// How healthy it is, once it has run with a health check.
    #[serde(default)]
    pub health: Option<Health>,
    /// How often it has exited, in this daemon's life: waiters for the next exit compare it.
    #[serde(skip)]
    pub exits: u64,
    /// Whether it is gone for good.
    #[serde(skip)]
    pub removed: bool,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            state: State::Created,
            pid: 0,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            ooms: 0,
            started: None,
            finished: None,
            restarts: 0,
            restarting: false,
            stopped_by_hand: false,
            remove_volumes: false,
            networks: Vec::new(),
            ports: Vec::new(),
            vm: None,
            health: None,
            exits: 0,
            removed: false,
        }
    }
}

impl Status {
    /// The interface with the way out, which is also where published ports lead.
    #[must_use]
    pub fn way_out(&self) -> Option<&Interface> {
        self.networks.iter().map(|joined| &joined.interface).find(|interface| interface.config.is_default)
    }

    /// All its interfaces.
    #[must_use]
    pub fn interfaces(&self) -> Vec<Interface> {
        self.networks.iter().map(|joined| joined.interface.clone()).collect()
    }

    /// Docker's word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.restarting { "restarting" } else { self.state.as_str() }
    }

    /// Whether it runs in Docker's sense: a container between two runs by its restart policy does too.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state.is_live() || self.restarting
    }

    /// Docker's word for its health.
    #[must_use]
    pub fn health_word(&self) -> &'static str {
        self.health.as_ref().map_or("none", |health| health.status.as_str())
    }

    /// The sentence in `docker ps`, at the time `now`.
    #[must_use]
    pub fn sentence(&self, now: Timestamp) -> String {
        let since = |time: Option<Timestamp>| {
            human_duration(time.map_or(0, |time| now.as_second().saturating_sub(time.as_second())))
        };
        match self.state {
            State::Running if !self.restarting => match &self.health {
                Some(health) => format!("Up {} ({})", since(self.started), health.sentence()),
                None => format!("Up {}", since(self.started)),
            },
            State::Paused => format!("Up {} (Paused)", since(self.started)),
            _ if self.restarting => format!("Restarting ({}) {} ago", self.exit_code, since(self.finished)),
            State::Removing => "Removal In Progress".to_owned(),
            State::Exited => format!("Exited ({}) {} ago", self.exit_code, since(self.finished)),
            _ => "Created".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_dockers() {
        let now: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
        let at = |second: i64| Some(Timestamp::from_second(now.as_second() - second).unwrap());
        let mut status = Status::default();
        assert_eq!((status.word(), status.sentence(now).as_str()), ("created", "Created"));
        status = Status { state: State::Running, started: at(3), ..status };
        assert_eq!(status.sentence(now), "Up 3 seconds");
        status.health = Some(Health::begin(None));
        assert_eq!(status.sentence(now), "Up 3 seconds (health: starting)");
        status.state = State::Paused;
        assert_eq!(status.sentence(now), "Up 3 seconds (Paused)");
        status = Status { state: State::Exited, exit_code: 7, finished: at(2), ..status };
        assert_eq!(status.sentence(now), "Exited (7) 2 seconds ago");
        status.restarting = true;
        assert_eq!(
            (status.word(), status.sentence(now).as_str()),
            ("restarting", "Restarting (7) 2 seconds ago")
        );
    }

    #[test]
    fn a_status_reads_back() {
        let status = Status { state: State::Running, pid: 5, ..Status::default() };
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }
}
