//! `docker build` without BuildKit: a Dockerfile and its context become an image, step by step.
//!
//! ```text
//! upload ─► Context (an index in memory, contents in one file) ─► parse ─► stages ─► steps
//!    RUN: a container like any other, at the build's level ─► its layer ─┐
//!    COPY, ADD: a layer written directly, no container ─────────────────┼─► ImageStore::extend ─► Cache
//!    the others: only the configuration changes ────────────────────────┘
//! ```
//!
//! Each step's image is in the store, hidden while nobody names it, and the [`cache`] finds it again by a key of the step
//! before and what this one says and reads. A build that ends in the middle, with its client or with the daemon, leaves
//! steps in the cache and nothing else: its directory says which container it had ([`Workplace`]).

mod cache;
mod context;
mod copy;
mod layer;
mod options;
mod run;
mod stages;
mod tree;
mod workplace;

pub use cache::Builds;
pub use context::Context;
pub use options::Options;
pub use stages::{Job, build};
pub use workplace::{Workplace, sweep};
