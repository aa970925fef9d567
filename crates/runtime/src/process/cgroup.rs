//! The container's control group, without blocking the event loop: what may wait runs on a thread of its own.

use std::io;
use std::path::Path;
use std::time::Duration;

use cofferdam_model::{Resources, Usage, bundle};
use cofferdam_sys::cgroup::{Cgroup, CgroupError, OomWatch};
use serde::Deserialize;

use crate::Error;

/// How long killed processes may take to be gone. One that the kernel holds (a dead network disk) may take for ever.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The group that libcontainer puts the container into.
pub(super) struct ContainerCgroup {
    cgroup: Cgroup,
    /// Whether the container has a PID namespace of its own, which ends with its init process.
    own_pids: bool,
}

/// What is read of `config.json` here.
#[derive(Deserialize)]
struct Spec {
    linux: Linux,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    cgroups_path: Option<String>,
    #[serde(default)]
    namespaces: Vec<NamespaceSpec>,
    #[serde(default)]
    resources: Resources,
}

#[derive(Deserialize)]
struct NamespaceSpec {
    #[serde(rename = "type")]
    kind: String,
    path: Option<String>,
}

impl ContainerCgroup {
    /// Makes the group that the bundle names, with its limits. (The device rules are libcontainer's.)
    pub(super) fn of_bundle(directory: &Path, id: &str) -> Result<Self, Error> {
        let path = directory.join(bundle::OCI_SPEC);
        let text = std::fs::read(&path);
        let spec = text.and_then(|text| serde_json::from_slice::<Spec>(&text).map_err(io::Error::from));
        let spec = spec.map_err(|source| Error::Path { path, source })?;
        let name = spec.linux.cgroups_path.unwrap_or_else(|| format!("/{id}"));
        let failed =
            |error| Error::Os { doing: "making the container's cgroup", source: io::Error::other(error) };
        let cgroup = Cgroup::named(&name).map_err(failed)?;
        // libcontainer makes only the controllers it knows; an exec joins all that the host has.
        cgroup.create().map_err(failed)?;
        if let Err(error) = cgroup.set_limits(&spec.linux.resources) {
            cgroup.delete().ok();
            return Err(error.into());
        }
        let own_pids = spec.linux.namespaces.iter().any(|one| one.kind == "pid" && one.path.is_none());
        Ok(Self { cgroup, own_pids })
    }

    /// Whether every process of the container ends with its init process.
    pub(super) fn ends_with_init(&self) -> bool {
        self.own_pids
    }

    pub(super) fn pids(&self) -> io::Result<Vec<i32>> {
        self.cgroup.pids().map_err(io::Error::other)
    }

    /// Sets limits; the kernel may take memory back for a while.
    pub(super) async fn limit(&self, limits: &Resources) -> Result<(), Error> {
        let (cgroup, limits) = (self.cgroup.clone(), limits.clone());
        let done = tokio::task::spawn_blocking(move || cgroup.set_limits(&limits)).await;
        let done = done.map_err(|error| Error::Os { doing: "limits", source: io::Error::other(error) })?;
        done.map(drop).map_err(Error::from)
    }

    pub(super) fn usage(&self) -> io::Result<Usage> {
        self.cgroup.usage().map_err(io::Error::other)
    }

    /// Sends a signal to every process; those that end meanwhile are fine.
    pub(super) fn signal_all(&self, signal: i32) -> io::Result<()> {
        for pid in self.pids()? {
            let sent =
                cofferdam_sys::process::ProcessHandle::open(pid).and_then(|process| process.signal(signal));
            match sent {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) async fn freeze(&self) -> io::Result<()> {
        self.blocking(Cgroup::freeze).await
    }

    pub(super) fn thaw(&self) -> io::Result<()> {
        self.cgroup.thaw().map_err(io::Error::other)
    }

    /// Kills every process, and returns when they are gone.
    pub(super) async fn kill_all(&self) -> io::Result<()> {
        if self.pids()?.is_empty() {
            return Ok(());
        }
        self.blocking(|cgroup| cgroup.kill(KILL_LIMIT)).await
    }

    /// Kills every process and removes the group. Idempotent.
    pub(super) async fn kill_and_remove(&self) -> io::Result<()> {
        if !self.cgroup.exists() {
            return Ok(());
        }
        self.kill_all().await?;
        self.blocking(Cgroup::delete).await
    }

    /// Watches for its memory running out.
    pub(super) fn watch_oom(&self) -> Option<OomWatch> {
        self.cgroup.watch_oom().unwrap_or_else(|error| {
            tracing::warn!(%error, "nobody will hear of it when memory runs out");
            None
        })
    }

    /// Whether the OOM killer has ended a process of the container.
    pub(super) fn oom_killed(&self) -> bool {
        self.cgroup.oom_kills().is_ok_and(|kills| kills > 0)
    }

    async fn blocking(
        &self,
        work: impl FnOnce(&Cgroup) -> Result<(), CgroupError> + Send + 'static,
    ) -> io::Result<()> {
        let cgroup = self.cgroup.clone();
        let done = tokio::task::spawn_blocking(move || work(&cgroup)).await;
        done.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}
