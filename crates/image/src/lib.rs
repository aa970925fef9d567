//! Images: their names, where they come from, and how they become a root file system.
//!
//! [`ImageStore`] owns the directory `<data-root>/images`:
//!
//! ```text
//! oci-layout  index.json     an OCI image layout: names are annotations in the index
//! blobs/sha256/<hex>         manifests, configurations, layers as they came
//! layers/<chain ID>/diff     unpacked layers in overlayfs's format; layer.json beside it
//! erofs/<image ID>.erofs     an image as one read-only file, for utility VMs
//! empty/  empty-below/       layers of images that have none, and below an overlay that nobody writes to
//! tmp/                       whatever is not finished; emptied at start
//! ```
//!
//! Everything is written under `tmp/` and renamed when complete, and `index.json` is replaced last: a crash of the
//! daemon leaves what was there before. What a crash of the machine may have damaged is verified at the next start
//! (`durable.json`). What the index does not lead to is removed at start.
//!
//! ```text
//! pull (registry) ─┐                                        ┌─► lower_dirs  → overlay (process level)
//! load (archive)  ─┼─► blobs ─► unpack, verify ─► index ─────┼─► erofs       → virtio-blk (hyperv level)
//! import (tar)    ─┤         (one layer each, in parallel)  └─► save, push  → the blobs as they came
//! extend (tar)    ─┘
//! ```
//!
//! Operations that need the same layer at the same time do it once: the second waits for the first. What an operation
//! in flight needs is leased and survives garbage collection.
//!
//! The store does not know containers: [`ImageStore::remove`] and [`ImageStore::prune`] ask the caller who uses an
//! image.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod assemble;
mod blobs;
mod changes;
mod config;
mod digest;
mod durable;
mod erofs;
mod error;
mod extend;
mod fuzz;
mod image;
mod import;
mod index;
mod layers;
mod leases;
mod load;
mod manifest;
mod origin;
mod progress;
mod pull;
mod reference;
mod remove;
mod save;
mod store;
mod unpack;

pub use changes::{apply_changes, apply_instruction, set_variable};
pub use config::{ContainerConfig, History, ImageConfig, RootFs};
pub use digest::{Digest, InvalidDigest};
pub use error::{Error, ErrorKind};
pub use extend::{ExtendRequest, Step};
pub use fuzz::{fuzz_documents, fuzz_load, fuzz_reference, fuzz_unpack};
pub use image::{HistoryLine, Image};
pub use import::ImportRequest;
pub use manifest::Platform;
pub use origin::{Origin, Origins};
pub use progress::{LayerStatus, Progress, ProgressSender};
pub use pull::{Credentials, PullRequest, is_insecure};
pub use reference::{InvalidReference, Reference};
pub use remove::{ContainerUse, Pruned, Removed};
pub use save::SavedImages;
pub use store::{DiskUsage, ImageStore};

/// Most layers of one image, as in Docker: what an overlay's mount options can hold.
pub const MAX_LAYERS: usize = 127;
