//! Networks of containers: everything that is done with rtnetlink, and the one nftables table.
//!
//! ```text
//!  host's network namespace                     the container's, owned by its shim
//!  ┌──────────────────────────────┐   process   ┌───────────────────────────────┐
//!  │ cfd-<instance> ── host end ──┼─────────────┼─ eth0 (address, MAC)          │
//!  │ gateway, NAT                 │             └───────────────────────────────┘
//!  │                              │   hyperv    ┌───────────────────────────────┐
//!  │                ── host end ──┼─────────────┼─ eth0 ◄─tc─► tap0 ── QEMU ──┐ │
//!  └──────────────────────────────┘             └─────────────────────────────┼─┘
//!                                                 guest: eth0 (address, MAC) ◄┘
//! ```
//!
//! Who calls what:
//!
//! * **daemon**: [`free_subnet`], [`is_free`], [`ensure_bridge`], [`remove_bridge`], [`leftover_links`], [`delete_link`],
//!   [`Subnet`], [`mac_for`]; [`ensure_network`] and [`bridges`] for networks of users; [`publish`] and [`unpublish`] for ports of the host that lead to containers;
//! * **shim**, while it has one thread: [`HostLink::open`] *before* it unshares its network namespace, then
//!   [`HostLink::connect`] with a handle of the new one, then inside it [`configure`] (process level),
//!   [`tap_for_vm`] (hyperv), [`loopback_up`] or [`tap_to_nowhere`] (no network);
//! * **guest's agent**: [`prepare_card`] and [`identify_card`], or [`loopback_up`]; [`unidentify_card`] after a rehearsal.
//!
//! Whatever a shim makes disappears with its namespace, so there is nothing to undo there. Address records belong to
//! the store. No call here starts another program, but `nft` when a daemon starts, when
//! a network is made or removed, and when ports are published.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod bridge;
mod error;
mod guest;
mod link;
mod nat;
mod netlink;
mod published;
mod redirect;
mod subnet;
mod tap;
#[cfg(test)]
mod tests;
mod user_network;

pub use address::{InvalidSubnet, Subnet, mac_for};
pub use bridge::{
    BridgeConfig, bridges, delete_link, ensure_bridge, ensure_network, leftover_links, remove_bridge,
};
pub use error::NetError;
pub use guest::{Card, GuestNetwork, identify_card, prepare_card, unidentify_card};
pub use link::{CONTAINER_INTERFACE, HostLink, configure, loopback_up};
pub use published::{Published, hairpin, publish, unpublish};
pub use subnet::{free_subnet, is_free};
pub use tap::{tap_for_vm, tap_to_nowhere};
pub use user_network::Policy;
