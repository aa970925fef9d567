//! The resolver of a user's network: it answers the names of the network's containers and forwards the rest.
//!
//! [`judge`] is pure: what to do with one query. [`Server`] listens on the network's gateway. Whoever is in the network
//! can send anything here, so every query costs a bounded time, memory and number of sockets.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod forward;
mod server;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub use answer::{Verdict, judge};
pub use server::Server;

/// Who is who in a network. Called for every query.
pub trait Names: Send + Sync + 'static {
    /// The addresses of a name (lower case, without the last dot) for the client with this address; `None` when it is
    /// nobody's.
    fn addresses(&self, client: Ipv4Addr, name: &str) -> Option<Vec<IpAddr>>;

    /// The name of an address, for the client with this one.
    fn name(&self, client: Ipv4Addr, address: IpAddr) -> Option<String>;

    /// The servers that know the rest, for the client with this address; none when nothing is forwarded.
    fn upstream(&self, client: Ipv4Addr) -> Vec<SocketAddr>;
}
