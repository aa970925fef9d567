//! The host's kernel interfaces, and nearly all of the project's `unsafe` code.
//!
//! What is safe already in `rustix` or `nix` is used from there; what is here either wraps a call that they lack or
//! gives a group of files and calls one name:
//!
//! | module | owns |
//! |---|---|
//! | [`unix`] | Unix sockets named by directory and file, file descriptors passed over them or inherited |
//! | [`cgroup`] | control groups v1 and v2: limits, PIDs, freezing, killing, OOM count, removal |
//! | [`device_filter`] | cgroup v2 device rules as a BPF program |
//! | [`vlan_filter`] | traffic control by VLAN as BPF programs |
//! | [`namespace`] | unsharing, joining and naming namespaces |
//! | [`mount`] | mount propagation and the overlay of a container |
//! | [`overlay_view`] | a read-only merged view of layers for one child process |
//! | [`process`] | process handles (pidfd), subreaper, sessions |
//! | [`procfs`] | `/proc` read into [`cofferdam_model::ProcessInfo`] |
//! | [`memory`] | mapping a file and touching its pages |
//! | [`tap`] | opening a TAP device |
//! | [`kvm`] | whether `/dev/kvm` really runs guests at speed |
//! | [`userdb`] | names for the user ids of VM workers |
//! | [`disk`] | copying sparse files |
//! | [`tracee`] | a stopped thread of another process |
//! | [`entropy`] | giving the kernel's random number generator entropy |
//!
//! It has no policy: names, limits and paths are its callers'.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bpf;
pub mod cgroup;
pub mod device_filter;
pub mod disk;
pub mod entropy;
pub mod kvm;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod overlay_view;
pub mod process;
pub mod procfs;
pub mod tap;
pub mod trace;
pub mod tracee;
pub mod unix;
pub mod userdb;
pub mod vlan_filter;
