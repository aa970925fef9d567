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
//! A VM has one card. Its further networks (`eth1`, …) are VLANs on it: tc tags what comes from them on its way to the
//! TAP device, and sorts what comes from there.
//!
//! Who calls what:
//!
//! * **daemon**: [`free_subnet`], [`is_free`], [`ensure_bridge`], [`remove_bridge`], [`leftover_links`], [`delete_link`],
//!   [`Subnet`], [`mac_for`]; [`ensure_network`] and [`bridges`] for networks of users; [`publish`] and [`unpublish`] for ports of the host that lead to containers;
//! * **shim**, while it has one thread: [`HostLink::open`] *before* it unshares its network namespace, then inside that a
//!   [`Wiring`], which also joins and leaves networks later; [`loopback_up`] or [`tap_to_nowhere`] without a network;
//! * **guest's agent**: a [`Card`], or [`loopback_up`].
//!
//! Whatever a shim makes disappears with its namespace, so there is nothing to undo there. Address records belong to
//! the store. No call here starts another program, but `nft` when a daemon starts, when
//! a network is made or removed, and when ports are published.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod bridge;
mod error;
mod guest;
mod inside;
mod link;
mod nat;
mod netlink;
mod published;
mod subnet;
mod tap;
#[cfg(test)]
mod tests;
mod traffic;
mod user_network;
mod wiring;

pub use address::{InvalidSubnet, InvalidSubnet6, Subnet, Subnet6, mac_for};
pub use bridge::{
    BridgeConfig, bridges, delete_link, ensure_bridge, ensure_network, leftover_links, remove_bridge,
};
pub use error::NetError;
pub use guest::Card;
pub use inside::loopback_up;
pub use link::HostLink;
pub use published::{Published, hairpin, publish, unpublish};
pub use subnet::{free_subnet, is_free};
pub use tap::tap_to_nowhere;
pub use user_network::Policy;
pub use wiring::Wiring;
