//! What a VM has on the host: its worker process, cgroup, user name and share server.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cofferdam_hypervisor::jail::Supervisor;
use cofferdam_hypervisor::qemu::Qemu;
use cofferdam_hypervisor::{Backing, Hypervisor, JailConfig, Origin, Vm, VmConfig};
use cofferdam_model::{NetworkSpec, Resources, Share, ShareSpec, Usage, VmSpec, bundle};
use cofferdam_proto::{AGENT_PORT, SHARE_PORT};
use cofferdam_sys::cgroup::{Before, Cgroup, CgroupError};
use cofferdam_sys::userdb::{Paths, UserDb};
use tokio::net::UnixStream;

use super::limits;
use crate::Error;

/// Beside the bundle's files: where the share server mounts its root, in its own mount namespace.
const SHARES: &str = "shares";

/// The address of an interface that is connected to nothing.
const NO_MAC: &str = "02:42:00:00:00:00";

/// What to start a VM with.
pub(super) struct WorkerSpec<'a> {
    /// What its process's command line shows: the container's ID, or a template's key.
    pub name: &'a str,
    /// The VM.
    pub vm: &'a VmSpec,
    /// How it comes to run.
    pub origin: Origin,
    /// Where its memory is.
    pub backing: Backing,
    /// The first disk.
    pub image: &'a Path,
    /// The second disk.
    pub writable: &'a Path,
    /// Its network.
    pub tap: Option<OwnedFd>,
    /// Its network card's address.
    pub mac: String,
    /// The control group, and whose it is.
    pub group: Group<'a>,
    /// A directory for mount points.
    pub work: &'a Path,
    /// The `cofferdam-oci` helper.
    pub oci_helper: &'a Path,
    /// Bind mounts to serve.
    pub shares: &'a [Share],
}

/// A VM worker process's control group.
pub(super) struct Group<'a> {
    /// Its name.
    pub name: &'a str,
    /// The container's limits.
    pub limits: &'a Resources,
    /// Its preference with the OOM killer.
    pub oom_score_adj: i64,
}

/// The MAC address of a VM's card, which is its first network's.
pub(super) fn mac_of(network: &NetworkSpec) -> String {
    let card = match network {
        NetworkSpec::Own { interfaces } => {
            interfaces.iter().map(|interface| &interface.config).find(|config| config.vlan().is_none())
        }
        NetworkSpec::None | NetworkSpec::Host | NetworkSpec::Container { .. } => None,
    };
    card.map_or_else(|| NO_MAC.to_owned(), |config| config.mac.clone())
}

/// The host's side of a VM.
pub(super) struct Worker {
    /// The VM.
    pub vm: Arc<dyn Vm>,
    spec: VmSpec,
    cgroup: Cgroup,
    user: (String, u32),
    /// The share port of a VM without shares: open, so that a VM which is frozen has it when it is thawed.
    _share: Option<std::os::unix::net::UnixStream>,
    /// Whether its end is wanted.
    ending: AtomicBool,
    ended: tokio::sync::Mutex<bool>,
}

impl Worker {
    /// Starts the VM; returns the host's end of its agent's port.
    pub(super) async fn start(spec: WorkerSpec<'_>) -> Result<(Self, UnixStream), Error> {
        let vm = spec.vm;
        let root = spec.work.join(bundle::ROOTFS);
        std::fs::create_dir_all(&root).map_err(|source| Error::Path { path: root.clone(), source })?;
        let cgroup = make_cgroup(vm, &spec.group)?;
        // A name is for the eyes only: the VM runs without it.
        if let Err(error) = UserDb::detect(&Paths::default()).publish(&vm.user, vm.uid) {
            tracing::warn!(user = vm.user, %error, "user name not published");
        }
        let config = VmConfig {
            id: spec.name.to_owned(),
            program: vm.hypervisor.clone(),
            origin: spec.origin,
            memory: vm.memory,
            backing: spec.backing,
            cpus: vm.cpus,
            kvm: vm.kvm,
            image: spec.image.to_owned(),
            writable: spec.writable.to_owned(),
            rates: limits::of_disks(spec.group.limits),
            tap: spec.tap,
            mac: spec.mac,
            jail: JailConfig {
                helper: spec.oci_helper.to_owned(),
                uid: vm.uid,
                root,
                cgroup: spec.group.name.to_owned(),
            },
        };
        let user = (vm.user.clone(), vm.uid);
        let started = match hypervisor(vm.kvm).start(config).await {
            Ok(started) => started,
            Err(error) => {
                clean(&cgroup, &user);
                return Err(Error::Hypervisor(error.to_string()));
            }
        };
        let score = format!("/proc/{}/oom_score_adj", started.vm.pid());
        if let Err(source) = std::fs::write(&score, spec.group.oom_score_adj.to_string()) {
            // A process that has ended already has a better reason, and another way of starting the VM may do.
            let is_gone = source.kind() == std::io::ErrorKind::NotFound
                || source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error());
            started.vm.kill().await;
            let error = match is_gone {
                true => Error::Hypervisor(started.vm.ended().await),
                false => Error::Path { path: score.into(), source },
            };
            clean(&cgroup, &user);
            return Err(error);
        }
        let has_shares = !spec.shares.is_empty();
        let (port, kept) = if has_shares { (Some(started.share), None) } else { (None, Some(started.share)) };
        let worker = Self {
            vm: started.vm,
            spec: vm.clone(),
            cgroup,
            user,
            _share: kept,
            ending: AtomicBool::new(false),
            ended: tokio::sync::Mutex::new(false),
        };
        let connected = async {
            if let Some(port) = port {
                serve_shares(spec.oci_helper, spec.shares, spec.work, port.as_fd()).await?;
            }
            let failed = |source| Error::Os { doing: "agent's port", source };
            started.agent.set_nonblocking(true).map_err(failed)?;
            UnixStream::from_std(started.agent).map_err(failed)
        };
        match connected.await {
            Ok(agent) => Ok((worker, agent)),
            Err(error) => {
                worker.end().await;
                Err(error)
            }
        }
    }

    /// Gives it its part of a container's new limits; what they were.
    pub(super) async fn limit(&self, asked: &Resources) -> Result<Before, Error> {
        let (cgroup, limits) = (self.cgroup.clone(), limits::of_worker(asked, &self.spec));
        let done = tokio::task::spawn_blocking(move || cgroup.set_limits(&limits)).await;
        Ok(done.map_err(|error| Error::Hypervisor(error.to_string()))??)
    }

    /// The guest's part.
    pub(super) fn for_guest(&self, asked: &Resources) -> Resources {
        limits::of_guest(asked, &self.spec)
    }

    /// Whether the host's OOM killer ended the worker process.
    pub(super) fn oom_killed(&self) -> bool {
        self.cgroup.oom_kills().is_ok_and(|count| count > 0)
    }

    /// What the worker process uses on the host.
    pub(super) fn usage(&self) -> Result<Usage, CgroupError> {
        self.cgroup.usage()
    }

    /// Whether the end of the VM is our own doing.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Ends the VM and takes back everything it has on the host. Idempotent.
    pub(super) async fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
        let mut ended = self.ended.lock().await;
        if !*ended {
            self.vm.kill().await;
            clean(&self.cgroup, &self.user);
            *ended = true;
        }
    }
}

/// The hypervisor.
pub(super) fn hypervisor(kvm: bool) -> Qemu {
    Qemu { kvm, ports: [AGENT_PORT, SHARE_PORT] }
}

fn clean(cgroup: &Cgroup, (user, uid): &(String, u32)) {
    if let Err(error) = cgroup.kill(Duration::from_secs(5)).and_then(|()| cgroup.delete()) {
        tracing::warn!(%error, "cgroup of the VM worker process");
    }
    if let Err(error) = UserDb::detect(&Paths::default()).remove(user, *uid) {
        tracing::warn!(user, %error, "user name not removed");
    }
}

/// The control group, limited.
fn make_cgroup(vm: &VmSpec, group: &Group<'_>) -> Result<Cgroup, CgroupError> {
    let cgroup = Cgroup::named(group.name)?;
    cgroup.create()?;
    if let Err(error) = cgroup.set_limits(&limits::of_worker(group.limits, vm)) {
        cgroup.delete().ok();
        return Err(error);
    }
    Ok(cgroup)
}

/// Starts the process that serves the container's bind mounts. It ends when the port closes, with the VM.
async fn serve_shares(
    oci_helper: &Path,
    shares: &[Share],
    work: &Path,
    port: std::os::fd::BorrowedFd<'_>,
) -> Result<(), Error> {
    let root = work.join(SHARES);
    std::fs::create_dir_all(&root).map_err(|source| Error::Path { path: root.clone(), source })?;
    let spec = ShareSpec { root, shares: shares.to_vec() };
    Supervisor::start(oci_helper, "share", &spec, &[port])
        .await
        .map(drop)
        .map_err(|error| Error::Hypervisor(format!("bind mounts: {error}")))
}
