//! Templates: saved VMs that others are cloned from. What the daemon asks for, and what is recorded.
//!
//! `cofferdam-shim --template FILE` makes the template that FILE, a [`TemplateOrder`], describes. It writes
//! [`TemplateProgress`] lines to standard output, and its last words to standard error when it fails.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::VmSpec;

/// A template to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateOrder {
    /// Its key, which names everything that decides what it is.
    pub key: String,
    /// The VM; `vm.start` says where templates are.
    pub vm: VmSpec,
    /// The `cofferdam-oci` helper.
    pub oci_helper: PathBuf,
    /// The control group to make and run in.
    pub cgroup: String,
    /// A directory for mount points and sockets, which is made and removed.
    pub work: PathBuf,
    /// What more than a booted guest it shall be.
    pub image: Option<ImageOrder>,
}

/// What an image template has beyond a booted guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOrder {
    /// The image as one EROFS file.
    pub image: PathBuf,
    /// What the writable disk begins as.
    pub blank: PathBuf,
    /// What the guest's agent is asked to prepare (`cofferdam_proto::Prepare`).
    pub prepare: serde_json::Value,
    /// Whether a container waits in it, on the blank disk. Without, a container of the image has run in it and is gone:
    /// that is what a container can use which has a disk already, or mounts of its own.
    pub prepared: bool,
    /// The programs that the image is for: they are in the template's memory already.
    pub programs: Vec<String>,
}

/// How far a template is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateProgress {
    /// `booting`, `cloning`, `rehearsing`, `preparing`, `saving`, `freezing`, `verifying`, `done`.
    pub status: String,
}

/// What is recorded beside a template's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TemplateRecord {
    /// Its key.
    pub key: String,
    /// The guest's `uname -r`.
    pub kernel: String,
    /// `qemu 7.2.22`.
    pub hypervisor: String,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// The image's ID, for an image template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The frozen worker process, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<crate::FrozenRecord>,
    /// When it was made, as Unix time in seconds.
    pub created: i64,
    /// Each file's SHA-256 over its data and where that lies, in hexadecimal.
    pub digests: std::collections::BTreeMap<String, String>,
}
