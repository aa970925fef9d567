//! The words of Cofferdam: ids, the isolation level, what a shim is asked to run, and the state machine of a
//! container. Pure data and pure functions; no I/O happens here, and every other crate may depend on this one.
//!
//! ```text
//!            Start            Started           Exited
//! Created ──────────► Starting ──────► Running ─────────► Exited ──Start──► Starting
//!    │                   │              │   ▲                │
//!    │ Remove            │ StartFailed  │   │ Unpause        │ Remove
//!    ▼                   ▼        Pause ▼   │                ▼
//! Removing            Created/Exited   Paused             Removing ──► (gone)
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod compute;
mod frozen;
mod helper;
mod id;
mod instance;
mod isolation;
mod jail;
mod network;
mod ports;
mod process;
pub mod resources;
mod shim;
mod state;
mod template;
mod usage;
pub mod user;

pub use archive::{ArchiveOrder, ArchiveStat, Change, ChangeKind, archive_exit};
pub use compute::{ComputeType, Foreign, Place, container_of_group, recognise};
pub use frozen::{FreezeSpec, Frozen, FrozenFile, FrozenParts, FrozenRecord};
pub use helper::{DEFAULT_PATH, GO, HelperCreate, HelperExec, HelperReply, Orders, PARKED};
pub use id::{ContainerId, InvalidId, random_hex};
pub use instance::{Instance, InvalidInstance};
pub use isolation::{Isolation, UnknownIsolation};
pub use jail::{GuestMemory, JailReply, JailSpec, Share, ShareSpec};
pub use network::{
    ChangedFile, Interface, InterfaceConfig, Ipv6Config, Link, MOST_NETWORKS, MacvlanMode, NetworkSpec,
    Rewiring,
};
pub use ports::{ContainerPort, InvalidPort, Protocol, PublishedPort, decimal};
pub use process::{ProcessInfo, WindowSize};
pub use resources::Resources;
pub use shim::{
    EXTENSION_SERVICE, IoRequest, JournalSpec, LogDriver, LogRotation, LogSpec, RootfsSpec, ShimSpec,
    TaskInfo, TemplateSource, VmInfo, VmSpec, VmStart, VolumePart, bundle,
};
pub use state::{Event, InvalidTransition, State};
pub use template::{ImageOrder, TemplateOrder, TemplateProgress, TemplateRecord};
pub use usage::{InterfaceUsage, TaskUsage, Traffic, Usage};
