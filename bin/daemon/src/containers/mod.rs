//! Containers: records, live handles, one task per container that owns its state.
//!
//! ```text
//! routes ──► Containers (by ID, name, prefix) ──► Container ──command──► actor ──► shim (ttrpc)
//!                                                     ▲                    │
//!            create, list, inspect, logs, top, exec   └──── watch ─────────┘  store, events
//! ```
//!
//! * [`create`] checks everything about a new container before anything is made.
//! * [`actor`] applies what happens to one container, in order: [`cofferdam_model::State::apply`] decides what is
//!   legal, the store is told in the same step, then everyone who watches.
//! * [`start`] turns a record into a bundle and a running shim, or rolls everything back.
//! * [`update`] changes a record and what runs by it, or neither.
//! * [`connect`] has a container join networks and leave them, also while it runs.
//! * [`recover`] finds at the daemon's start what became of the containers in its absence.

mod actor;
pub mod archive;
pub mod attach;
mod bundle;
mod claim_volumes;
pub mod commit;
pub mod config;
mod connect;
mod container;
pub mod convert;
pub mod create;
mod detach;
mod etc_files;
pub mod exec;
mod health;
mod image;
pub mod inspect;
pub mod layer;
mod layers;
pub mod lifecycle;
mod limits;
pub mod list;
pub mod logs;
mod mounts;
mod names;
pub mod prune;
pub mod record;
mod recover;
mod registry;
pub mod remove;
mod restart;
mod session;
mod shim;
mod signals;
mod spec;
mod start;
pub mod stats;
pub mod top;
pub mod unreadable;
mod update;
mod users;
mod volumes;
pub mod wait;

pub use bundle::cgroup as group;
pub use container::Container;
pub use layers::{Entry as LayerEntry, Layers};
pub use limits::ulimit_refusal;
pub use mounts::{MountKind, MountPoint};
pub use recover::{published, recover};
pub use registry::Containers;
pub use start::{kill_everything, shim_pid};
pub use volumes::copy as copy_content;

/// What this host's control groups can limit.
pub fn host_offers() -> &'static cofferdam_sys::cgroup::Offers {
    &spec::HostFacts::of_this_host().offers
}
