//! What we add to Docker's answers, always under the one key `Cofferdam`, which other clients ignore.

use cofferdam_model::{ComputeType, Isolation, VmInfo};
use serde::{Deserialize, Serialize};

/// `/info`: what this engine can do on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InfoExtension {
    /// The daemon's instance name, which everything it makes on the host carries.
    pub instance: String,
    /// The isolation level of containers that name none.
    pub default_isolation: String,
    /// `qemu 7.2.22`; empty when none was found.
    pub hypervisor: String,
    /// `kvm` or `tcg`; empty while the probe runs.
    pub accelerator: String,
    /// Why this accelerator.
    pub accelerator_reason: String,
    /// The guest kernel's release, or file when the release is not known; empty when there is none.
    pub guest_kernel: String,
    /// Why the `hyperv` level is not available, and what to do; empty when it is.
    pub hyperv_unavailable: String,
    /// Why the default network is not complete; empty when it is.
    pub network_warning: String,
}

/// `/containers/{id}/json`: the container's wall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerExtension {
    /// The effective level.
    pub isolation: Isolation,
    /// Who has made it.
    #[serde(default)]
    pub owner: Owner,
    /// At the `hyperv` level, while it runs: hypervisor, accelerator, guest kernel, worker.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmInfo>,
}

/// `/cofferdam/templates`: a saved VM that others are cloned from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TemplateSummary {
    /// Its key, in hexadecimal: a digest of everything that decides what it is.
    pub key: String,
    /// `ready`, or the step that its making is at; it then has no other fields.
    pub status: String,
    /// The ID of the image that it holds; empty for a base template.
    pub image: String,
    /// The guest's `uname -r`.
    pub kernel: String,
    /// `qemu 7.2.22`
    pub hypervisor: String,
    /// `kvm` or `tcg`
    pub accelerator: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory of the VM in bytes.
    pub memory: u64,
    /// Bytes on disk.
    pub size: u64,
    /// When it was made, in Unix seconds.
    pub created: i64,
    /// When a VM was last cloned from it, in Unix seconds.
    pub last_used: i64,
}

/// The request header in which a front says that it is not Docker's API: [`Owner::FRONT`].
pub const FRONT_HEADER: &str = "x-cofferdam-front";

/// Who has made a container, in the documents' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// A client of Docker's API.
    #[default]
    #[serde(rename = "docker")]
    Docker,
    /// The cmdlets.
    #[serde(rename = "VMMS")]
    Vmms,
}

impl Owner {
    /// The cmdlets' value of [`FRONT_HEADER`].
    pub const FRONT: &str = "cmdlet";

    /// As it is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Vmms => "VMMS",
        }
    }
}

/// `/cofferdam/compute`: a container that runs on the host, or a virtual machine, whoever has made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ComputeProcess {
    /// The container's ID, or the virtual machine's UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `docker` or `VMMS` for this engine's; else the engine whose it is.
    pub owner: String,
    /// What it is.
    #[serde(rename = "Type")]
    pub kind: ComputeType,
    /// `process` or `hyperv`; empty for other engines'.
    pub isolation: String,
    /// The init process on the host, or the VM worker process.
    pub pid: i32,
    /// The user it runs under; empty when the host has no name for it.
    pub user: String,
    /// That user's ID.
    pub uid: u32,
    /// Memory that it takes of the host, in bytes.
    pub memory: u64,
    /// CPU time that it has taken of the host, in nanoseconds.
    pub cpu_nanos: u64,
    /// Whether it is another engine's, and can only be looked at.
    pub read_only: bool,
}

/// `/cofferdam/policy`: the isolation policy, and what it says about an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PolicyReport {
    /// The rules, in the configuration's order; empty when there is no policy.
    pub rules: Vec<String>,
    /// About the image that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PolicyAnswer>,
}

/// What the isolation policy says about an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PolicyAnswer {
    /// The name that was asked for.
    pub name: String,
    /// The image's ID; empty when it is not here, and judged as if it were pulled.
    pub id: String,
    /// `allow process`, `default hyperv` or `require hyperv`: the strictest of its origins'.
    pub decision: String,
    /// The rule that decides; empty when none matches.
    pub rule: String,
    /// The level of a container that names none.
    pub isolation: String,
    /// Why `--isolation=process` is refused; empty when it is not.
    pub refusal: String,
    /// Each place that the image came from.
    pub origins: Vec<PolicyOrigin>,
}

/// What the isolation policy says about one origin of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PolicyOrigin {
    /// The name that was pulled, or `@load`, `@import`, `@build`, `@unknown`.
    pub origin: String,
    /// What is decided for it.
    pub decision: String,
    /// By this rule; empty when none matches.
    pub rule: String,
}
