//! What a VM has on the host: its worker process, cgroup, user name and share server.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cofferdam_hypervisor::jail::Supervisor;
use cofferdam_hypervisor::qemu::{self, Qemu};
use cofferdam_hypervisor::{Hypervisor, JailConfig, Vm, VmConfig};
use cofferdam_model::{NetworkSpec, RootfsSpec, ShareSpec, ShimSpec, VmSpec, bundle};
use cofferdam_proto::{AGENT_PORT, SHARE_PORT};
use cofferdam_sys::cgroup::{Cgroup, CgroupError, Limits};
use cofferdam_sys::userdb::{Paths, UserDb};
use tokio::net::UnixStream;

use super::guest_spec::GuestSpec;
use crate::Error;

/// Beside the bundle's files: where the share server mounts its root, in its own mount namespace.
const SHARES: &str = "shares";

/// The address of an interface that is connected to nothing.
const NO_MAC: &str = "02:42:00:00:00:00";

/// Threads of the worker process that the cgroup allows, beside one for each virtual CPU.
const THREADS: i64 = 96;

/// The host's side of a VM.
pub(super) struct Worker {
    /// The VM.
    pub vm: Arc<dyn Vm>,
    cgroup: Cgroup,
    user: (String, u32),
    /// Whether its end is wanted.
    ending: AtomicBool,
    ended: tokio::sync::Mutex<bool>,
}

impl Worker {
    /// Starts the VM; returns the host's end of its agent's port.
    pub(super) async fn start(
        shim: &ShimSpec,
        vm: &VmSpec,
        guest: &GuestSpec,
        bundle: &Path,
        tap: Option<OwnedFd>,
    ) -> Result<(Self, UnixStream), Error> {
        let RootfsSpec::Disks { image, writable } = &shim.rootfs else {
            return Err(Error::Hypervisor("a VM needs disks, not an overlay".to_owned()));
        };
        let root = bundle.join(bundle::ROOTFS);
        std::fs::create_dir_all(&root).map_err(|source| Error::Path { path: root.clone(), source })?;
        let cgroup = make_cgroup(vm, guest).map_err(|error| Error::Hypervisor(error.to_string()))?;
        // A name is for the eyes only: the VM runs without it.
        if let Err(error) = UserDb::detect(&Paths::default()).publish(&vm.user, vm.uid) {
            tracing::warn!(user = vm.user, %error, "user name not published");
        }
        let mac = match &shim.network {
            NetworkSpec::Bridge(bridge) => bridge.mac.clone(),
            NetworkSpec::None | NetworkSpec::Host => NO_MAC.to_owned(),
        };
        let config = VmConfig {
            id: shim.id.to_string(),
            program: vm.hypervisor.clone(),
            kernel: vm.kernel.clone(),
            initrd: vm.initrd.clone(),
            memory: vm.memory,
            cpus: vm.cpus,
            kvm: vm.kvm,
            image: image.clone(),
            writable: writable.clone(),
            tap,
            mac,
            jail: JailConfig {
                helper: shim.oci_helper.clone(),
                uid: vm.uid,
                root,
                cgroup: guest.cgroup.clone(),
            },
        };
        let hypervisor = Qemu { kvm: vm.kvm, ports: [AGENT_PORT, SHARE_PORT] };
        let user = (vm.user.clone(), vm.uid);
        let started = match hypervisor.start(config).await {
            Ok(started) => started,
            Err(error) => {
                clean(&cgroup, &user);
                return Err(Error::Hypervisor(error.to_string()));
            }
        };
        let worker = Self {
            vm: started.vm,
            cgroup,
            user,
            ending: AtomicBool::new(false),
            ended: tokio::sync::Mutex::new(false),
        };
        let connected = async {
            if !guest.shares.is_empty() {
                serve_shares(shim, guest, bundle, started.share.as_fd()).await?;
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

    /// Whether the host's OOM killer ended the worker process.
    pub(super) fn oom_killed(&self) -> bool {
        self.cgroup.oom_kills().is_ok_and(|count| count > 0)
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

fn clean(cgroup: &Cgroup, (user, uid): &(String, u32)) {
    if let Err(error) = cgroup.kill(Duration::from_secs(5)).and_then(|()| cgroup.delete()) {
        tracing::warn!(%error, "cgroup of the VM worker process");
    }
    if let Err(error) = UserDb::detect(&Paths::default()).remove(user, *uid) {
        tracing::warn!(user, %error, "user name not removed");
    }
}

/// The control group: the guest's memory plus what QEMU needs itself, and the container's share of the processors.
fn make_cgroup(vm: &VmSpec, guest: &GuestSpec) -> Result<Cgroup, CgroupError> {
    let cgroup = Cgroup::named(&guest.cgroup)?;
    cgroup.create()?;
    let limits = Limits {
        memory: Some(vm.memory.saturating_add(qemu::memory_overhead(vm.kvm))),
        nano_cpus: guest.nano_cpus,
        cpu_shares: guest.cpu_shares,
        pids: Some(THREADS + i64::from(vm.cpus)),
        ..Limits::default()
    };
    if let Err(error) = cgroup.set_limits(&limits) {
        cgroup.delete().ok();
        return Err(error);
    }
    Ok(cgroup)
}

/// Starts the process that serves the container's bind mounts. It ends when the port closes, with the VM.
async fn serve_shares(
    shim: &ShimSpec,
    guest: &GuestSpec,
    bundle: &Path,
    port: std::os::fd::BorrowedFd<'_>,
) -> Result<(), Error> {
    let root = bundle.join(SHARES);
    std::fs::create_dir_all(&root).map_err(|source| Error::Path { path: root.clone(), source })?;
    let spec = ShareSpec { root, shares: guest.shares.clone() };
    Supervisor::start(&shim.oci_helper, "share", &spec, &[port])
        .await
        .map(drop)
        .map_err(|error| Error::Hypervisor(format!("bind mounts: {error}")))
}
