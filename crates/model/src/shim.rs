//! What the daemon asks of a shim. It is written as `shim.json` beside the OCI runtime specification
//! (`config.json`) in the container's bundle directory, and outlives the daemon.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ContainerId, Instance, Isolation, NetworkSpec};

/// Names of the files in a bundle, `<exec-root>/containers/<id>/`.
pub mod bundle {
    /// The OCI runtime specification.
    pub const OCI_SPEC: &str = "config.json";
    /// The [`super::ShimSpec`].
    pub const SHIM_SPEC: &str = "shim.json";
    /// The Task service's socket (ttrpc).
    pub const TASK_SOCKET: &str = "task.sock";
    /// The stdio socket; see [`super::IoRequest`].
    pub const IO_SOCKET: &str = "io.sock";
    /// The shim's PID in decimal.
    pub const SHIM_PID: &str = "shim.pid";
    /// The shim's own messages (its standard error).
    pub const SHIM_LOG: &str = "shim.log";
    /// Where the root file system is mounted, in the shim's own mount namespace.
    pub const ROOTFS: &str = "rootfs";
    /// Where parts of volumes are mounted, in the shim's own mount namespace.
    pub const PARTS: &str = "parts";
    /// The order for the image template that this container could have been cloned from: a [`crate::TemplateOrder`].
    pub const TEMPLATE_ORDER: &str = "template.json";
}

/// The ttrpc service beside containerd's Task service. Each method takes and returns JSON in the payload:
/// `Info` takes nothing and returns a [`TaskInfo`]; `Processes` takes nothing and returns a list of
/// [`crate::ProcessInfo`]; `Usage` takes nothing and returns a [`crate::TaskUsage`]; `Oom` takes a number, and returns how often
/// memory has run out as soon as that is more; `Rewire` takes a [`crate::Rewiring`] and returns nothing.
pub const EXTENSION_SERVICE: &str = "cofferdam.shim.v1.Extension";

/// Everything a shim needs beside the OCI runtime specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimSpec {
    /// The container.
    pub id: ContainerId,
    /// The daemon's name on this host.
    pub instance: Instance,
    /// The level.
    pub isolation: Isolation,
    /// Where standard output and error are recorded.
    pub log: LogSpec,
    /// The root file system.
    pub rootfs: RootfsSpec,
    /// Parts of volumes, to be bound to `parts/0`, `parts/1`, … in the bundle before anything else looks there.
    #[serde(default)]
    pub parts: Vec<VolumePart>,
    /// The network.
    pub network: NetworkSpec,
    /// The utility VM; present exactly at the hyperv level.
    pub vm: Option<VmSpec>,
    /// The `cofferdam-oci` helper's path.
    pub oci_helper: PathBuf,
    /// Whether standard input is kept open (`-i`); when not, the container reads end-of-file at once.
    pub open_stdin: bool,
    /// Whether standard input closes when the first attached client that gave input goes away (`StdinOnce`).
    pub stdin_once: bool,
    /// Whether its writable layer is nobody's once it has ended (`--rm`): it need not be written out.
    pub discard: bool,
    /// Whether the init process has a TTY. The specification says so, too, but it may be written after the shim has
    /// started, and clients attach from then on.
    pub terminal: bool,
}

/// A part of a volume. What is in a volume containers have written: the part is looked for below the volume only, and
/// through no links, and mounted by the handle that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumePart {
    /// The volume's directory.
    pub volume: PathBuf,
    /// The part, relative to it.
    pub path: PathBuf,
}

/// Where output is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// What is written.
    pub driver: LogDriver,
    /// The file. Its directory is made, if only that is missing.
    pub path: PathBuf,
    /// When another file is begun.
    #[serde(default)]
    pub rotation: LogRotation,
    /// What is said with every line.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The journal, which gets every line, too.
    #[serde(default)]
    pub journal: Option<JournalSpec>,
}

impl LogSpec {
    /// Nothing is recorded.
    #[must_use]
    pub fn none() -> Self {
        Self {
            driver: LogDriver::None,
            path: PathBuf::new(),
            rotation: LogRotation::default(),
            attributes: BTreeMap::new(),
            journal: None,
        }
    }
}

/// What is written into a log's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// One JSON object a line: `log`, `stream`, `time`, as Docker writes it.
    JsonFile,
    /// A compact format.
    Local,
    /// There is no file.
    None,
}

/// When another file is begun, and what becomes of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRotation {
    /// Bytes; without it there is one file only.
    pub max_size: Option<u64>,
    /// How many files there are at most, with the one that is written to.
    pub max_files: u32,
    /// Whether the others are compressed.
    pub compress: bool,
}

impl Default for LogRotation {
    fn default() -> Self {
        Self { max_size: None, max_files: 1, compress: false }
    }
}

/// systemd's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalSpec {
    /// Its socket.
    pub socket: PathBuf,
    /// The fields of every line.
    pub fields: BTreeMap<String, String>,
    /// Whether the container waits for a journal that does not keep up; else lines are lost.
    pub waits: bool,
}

/// Where the root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RootfsSpec {
    /// An overlay mounted by the shim in its own mount namespace (process level).
    Overlay {
        /// Read-only layer directories, topmost first.
        lower: Vec<PathBuf>,
        /// The writable directory.
        upper: PathBuf,
        /// The overlay's work directory, on the same file system as `upper`.
        work: PathBuf,
    },
    /// Disks that the guest overlays (hyperv level).
    Disks {
        /// The image as one EROFS file, shared read-only.
        image: PathBuf,
        /// The container's own ext4 disk. It does not exist before the container's first start.
        writable: PathBuf,
        /// What it begins as: an empty file system.
        blank: PathBuf,
    },
}

/// The utility VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSpec {
    /// The hypervisor's executable.
    pub hypervisor: PathBuf,
    /// The guest kernel.
    pub kernel: PathBuf,
    /// The initial RAM disk: the agent as `/init` and the kernel's modules.
    pub initrd: PathBuf,
    /// Memory in bytes.
    pub memory: u64,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Whether hardware virtualisation is used.
    pub kvm: bool,
    /// The VM worker process's user and group ID: never 0, one per container.
    pub uid: u32,
    /// Its user name, derived from the container ID.
    pub user: String,
    /// How it comes to run.
    pub start: VmStart,
}

/// How a VM comes to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum VmStart {
    /// It boots.
    Boot {
        /// Why it is not a clone, for the user; empty when that was asked for.
        reason: String,
    },
    /// It is a clone, or boots when cloning fails.
    Clone(TemplateSource),
}

/// Where a VM's template is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateSource {
    /// The directory of templates.
    pub directory: PathBuf,
    /// The directory in which it is noted which of them were verified.
    pub verified: PathBuf,
    /// The key of the template without an image. Those with an image have keys that are derived from it.
    pub base: String,
}

/// What a shim answers about its task beyond containerd's `State`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TaskInfo {
    /// Whether the kernel's OOM killer ended a process of the container.
    pub oom_killed: bool,
    /// The container's address-space and VM facts; `None` at the process level.
    pub vm: Option<VmInfo>,
    /// Whether the bundle holds an order for an image template that did not exist when the container started.
    pub template_wanted: bool,
    /// What the shim has done, and when, in microseconds of the host's monotonic clock.
    #[serde(default)]
    pub marks: Vec<(String, u64)>,
}

/// What `inspect` shows under `Cofferdam`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VmInfo {
    /// `qemu 7.2.22`.
    pub hypervisor: String,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// The guest's `uname -r`.
    pub guest_kernel: String,
    /// The VM worker process on the host.
    pub worker_pid: i32,
    /// The user it runs under.
    pub worker_uid: u32,
    /// That user's name.
    pub worker_user: String,
    /// The VM's memory in bytes.
    #[serde(default)]
    pub memory: u64,
    /// The VM's processors.
    #[serde(default)]
    pub cpus: u32,
    /// How it came to run: `thaw` (of a frozen process of an image template), `image-clone` (of a template with the image mounted and the container prepared), `clone`
    /// (of a template that had booted) or `boot`.
    #[serde(default)]
    pub start: String,
    /// Why it is no clone, when it could have been.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub start_reason: String,
    /// The template's key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template: String,
}

/// The first line, as JSON, that a client writes on the stdio socket. The shim answers one line: empty when
/// attached, else an error text. What follows is the process's stdio as it is: towards the shim raw standard
/// input (half-close is end-of-file); from the shim raw output when the process has a TTY, else Docker's stdcopy
/// frames (`[stream, 0, 0, 0, length as u32 big-endian]` and the bytes; Docker Engine API, "attach").
/// The shim closes its end when the process has ended and all its output was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoRequest {
    /// Empty for the container's init process, else an exec's ID.
    pub exec_id: String,
    /// Whether this client gives standard input.
    pub stdin: bool,
    /// Whether it wants standard output (and a TTY's output).
    pub stdout: bool,
    /// Whether it wants standard error.
    pub stderr: bool,
}
