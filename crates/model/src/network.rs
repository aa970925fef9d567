//! How a container is connected: what the daemon decides, the shim makes, and a guest is told.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The most networks that one container is in.
pub const MOST_NETWORKS: usize = 32;

/// How the container is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum NetworkSpec {
    /// Loopback only.
    None,
    /// The host's own network (process level only).
    Host,
    /// Another container's network namespace (process level only).
    Container {
        /// That container's shim, whose namespace it is.
        shim: i32,
    },
    /// A network namespace of its own with these interfaces; [`Rewiring`] changes them while it runs.
    Own {
        /// They may be none.
        interfaces: Vec<Interface>,
    },
}

/// One interface of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// What it leads to.
    pub link: Link,
    /// What it is inside.
    pub config: InterfaceConfig,
}

/// What a container's interface leads to on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Link {
    /// A veth pair whose other end is on a bridge.
    Bridge {
        /// The bridge's interface name.
        bridge: String,
        /// The host end of the pair, at most 15 bytes, carrying the instance's name.
        host_interface: String,
        /// Whether it is kept from the other containers on the bridge.
        isolated: bool,
    },
    /// A device of its own on an interface of the host.
    Macvlan {
        /// That interface.
        parent: String,
        /// What passes between devices of one parent.
        mode: MacvlanMode,
    },
}

/// How macvlan devices of one parent reach each other (kernel: `IFLA_MACVLAN_MODE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Directly.
    #[default]
    Bridge,
    /// Not at all.
    Private,
    /// By way of the switch that the parent is plugged into.
    Vepa,
    /// There is only one.
    Passthru,
}

/// What an interface is inside its container: at the hyperv level, in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceConfig {
    /// `eth0`, `eth1`, … A VM has one card: `eth0` is that, and `eth<N>` the VLAN N on it.
    pub name: String,
    /// `02:42:…`
    pub mac: String,
    /// The IPv4 address.
    pub address: Ipv4Addr,
    /// Its subnet's prefix length.
    pub prefix: u8,
    /// The way out, if there is one.
    pub gateway: Option<Ipv4Addr>,
    /// In networks with IPv6.
    pub ipv6: Option<Ipv6Config>,
    /// The MTU.
    pub mtu: u32,
    /// Whether what has no better route goes this way: one interface at most.
    pub is_default: bool,
}

/// An interface's IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Config {
    /// The address.
    pub address: Ipv6Addr,
    /// Its subnet's prefix length.
    pub prefix: u8,
    /// The way out, if there is one.
    pub gateway: Option<Ipv6Addr>,
}

impl InterfaceConfig {
    /// The number in its name, which is the VLAN in a VM: none for `eth0`, which is the card itself.
    #[must_use]
    pub fn vlan(&self) -> Option<u16> {
        self.name.strip_prefix("eth")?.parse().ok().filter(|number| (1..4095).contains(number))
    }
}

/// What a running container's interfaces are from now on. It is a whole: what is there and not in it goes, what is in it
/// and not there comes, so that it can be asked for again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewiring {
    /// All of them.
    pub interfaces: Vec<Interface>,
    /// The engine's files that name them.
    pub files: Vec<ChangedFile>,
}

/// One of the engine's small files in a guest (at the process level the daemon writes them itself). It changes unless
/// the container has changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// Its name, without a directory.
    pub name: String,
    /// What is in it so far.
    pub before: String,
    /// What is to be in it.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_has_no_vlan() {
        let vlan = |name: &str| {
            let config = InterfaceConfig {
                name: name.to_owned(),
                mac: String::new(),
                address: Ipv4Addr::UNSPECIFIED,
                prefix: 24,
                gateway: None,
                ipv6: None,
                mtu: 1500,
                is_default: false,
            };
            config.vlan()
        };
        assert_eq!((vlan("eth0"), vlan("eth7"), vlan("lo"), vlan("eth4095")), (None, Some(7), None, None));
    }
}
