//! The engines: ours at each level and through each client, and the peers.

pub mod bubblewrap;
pub mod cofferdam;
pub mod containerd;
pub mod docker;
pub mod native;
pub mod podman;
pub mod runc;
