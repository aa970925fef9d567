//! Virtual machines for containers: starting one in a jail, its channels, and its end.
//!
//! A [`Hypervisor`] starts a [`Vm`]; what hypervisors differ in is data ([`Capabilities`]), not further methods. What
//! runs in the VM is not this crate's matter: it hands out the byte streams to the guest and knows when the VM ended
//! and why. [`qemu`] is the first hypervisor, [`jail`] runs its process, [`disk`] makes blank disks, [`template`] keeps saved VMs.
//!
//! ```text
//!   Hypervisor::start                    guest powers off, panics, saved   kill, or the shim's end
//! ───────────────────► jailed ──► runs ──────────────────────────► paused ────────────────────────► gone
//!                        │         (boots, or goes on from a          (last words are read)
//!                        │          saved VM's state: a clone)
//!                        └─ not started: VmError with the process's own words
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod disk;
pub mod jail;
pub mod qemu;
pub mod template;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_model::{Frozen, FrozenParts};

/// A way to run VMs.
#[async_trait]
pub trait Hypervisor: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;
    /// Starts a VM. On failure nothing is left running.
    async fn start(&self, config: VmConfig) -> Result<StartedVm, VmError>;
}

/// What a hypervisor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether the guest's processor is the hardware's (else it is emulated, some 18 times slower).
    pub hardware: bool,
    /// Whether a VM can be saved and started again as private copies.
    pub clones: bool,
    /// Whether the process of a saved VM can be frozen.
    pub freezes: bool,
}

/// A VM.
#[async_trait]
pub trait Vm: Send + Sync {
    /// The VM worker process's PID on the host.
    fn pid(&self) -> i32;
    /// The hypervisor's name and version: `qemu 7.2.22`.
    fn version(&self) -> String;
    /// Waits for the end of the VM, and says why in words for the user.
    async fn ended(&self) -> String;
    /// Why it ended, if it has.
    fn ended_now(&self) -> Option<String>;
    /// Saves the device state into a file and leaves the VM stopped for good. Its memory must be [`Backing::Shared`];
    /// together they are what [`Origin::Saved`] goes on from. The guest should be idle.
    async fn save(&self, state: &std::path::Path) -> Result<(), VmError>;
    /// Writes the process of a VM that was saved into two files; what else is to be known of it. [`Origin::Frozen`] goes on
    /// from them and the VM's memory, on this boot of the host only.
    async fn freeze(
        &self,
        process: &std::path::Path,
        pages: &std::path::Path,
    ) -> Result<FrozenParts, VmError>;
    /// The last that hypervisor and guest console had to say; may be empty.
    async fn last_words(&self) -> String;
    /// Ends it at once and waits until the process is gone. Idempotent.
    async fn kill(&self);
}

/// A VM that was started, with its channels. The guest is not up yet.
pub struct StartedVm {
    /// The VM.
    pub vm: Arc<dyn Vm>,
    /// The host's end of the agent's port.
    pub agent: UnixStream,
    /// The host's end of the share port.
    pub share: UnixStream,
}

/// What to start.
pub struct VmConfig {
    /// The container's ID, which the process's command line shows.
    pub id: String,
    /// The hypervisor's program.
    pub program: PathBuf,
    /// How it comes to run.
    pub origin: Origin,
    /// Memory in bytes, rounded up to MiB.
    pub memory: u64,
    /// Where that memory is.
    pub backing: Backing,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Whether to use `/dev/kvm`.
    pub kvm: bool,
    /// The first disk: the image, read-only.
    pub image: PathBuf,
    /// The second disk: the container's own.
    pub writable: PathBuf,
    /// How fast both disks together may be used.
    pub rates: DiskRates,
    /// The TAP device that joins the guest to the container's network.
    pub tap: Option<OwnedFd>,
    /// The network interface's MAC address.
    pub mac: String,
    /// The jail.
    pub jail: JailConfig,
}

/// Most that disks do in a second; 0 is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskRates {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// How a VM comes to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It boots.
    Boot {
        /// Guest kernel.
        kernel: PathBuf,
        /// Initial RAM disk.
        initrd: PathBuf,
    },
    /// It goes on where a saved VM stood ([`Vm::save`]), which had the same processors, memory size and devices.
    Saved {
        /// The device state.
        state: PathBuf,
    },
    /// It goes on as the worker process of such a VM that was frozen after it was saved ([`Vm::freeze`]).
    Frozen {
        /// The process.
        process: Frozen,
        /// What [`Vm::version`] said.
        version: String,
    },
}

/// Where a VM's memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// The process's own; a frozen one brings it along.
    Anonymous,
    /// A private view of a file, which is never written: a clone's.
    Private(PathBuf),
    /// A file, which has the memory's size: that of a VM that will be saved.
    Shared(PathBuf),
}

/// Where and as whom the VM worker process runs.
#[derive(Clone, Debug)]
pub struct JailConfig {
    /// The `cofferdam-oci` helper.
    pub helper: PathBuf,
    /// User and group ID.
    pub uid: u32,
    /// An existing directory to mount the jail's root on.
    pub root: PathBuf,
    /// The control group, which exists.
    pub cgroup: String,
}

/// A VM could not be started.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// A file that it needs.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A call to the kernel.
    #[error("{doing}: {source}")]
    Os {
        /// What for.
        doing: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The jail or the program in it could not be started.
    #[error("cannot start the VM worker process: {0}")]
    Jail(String),
    /// The hypervisor ended at once; its last words.
    #[error("the hypervisor ended while starting: {0}")]
    Died(String),
    /// The hypervisor could not save its guest, or go on from a saved one.
    #[error("{0}")]
    Saving(String),
    /// A blank disk could not be made.
    #[error("mkfs.ext4: {0}")]
    Mkfs(String),
}

impl VmError {
    fn os(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Os { doing, source }
    }
}
