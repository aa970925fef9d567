//! The bridge of a network, and what its containers left on the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::address::parse_mac;
use crate::inside::{address_message, set_up, switch_ipv6};
use crate::netlink::{Link, Request, Rtnl};
use crate::user_network::{Policy, rules, rules_v6};
use crate::{NetError, Published, Subnet, Subnet6, mac_for, nat};

/// A bridge with outbound NAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The interface's name, at most 15 bytes.
    pub name: String,
    /// Its address.
    pub gateway: Ipv4Addr,
    /// The subnet's prefix length, 1 to 30.
    pub prefix: u8,
    /// Its IPv6 address and that subnet's prefix length, in networks that have IPv6.
    pub ipv6: Option<(Ipv6Addr, u8)>,
    /// The MTU.
    pub mtu: u32,
    /// The nftables table (family `ip`) that holds its rules and nothing else.
    pub nft_table: String,
    /// The ports that containers which are running already have published.
    pub published: Vec<Published>,
}

/// Makes the bridge, or brings an existing one to this state; then switches on IPv4 forwarding and outbound NAT.
///
/// An error for which [`NetError::bridge_is_up`] holds means that only the latter failed: containers reach each
/// other and the host, but nothing beyond.
pub fn ensure_bridge(config: &BridgeConfig) -> Result<(), NetError> {
    bring_up(config)?;
    nat::enable_forwarding()?;
    nat::install(&config.nft_table, &config.name, subnet_of(config)?, &config.published)?;
    nat::route_loopback(&config.name)
}

/// The same for a network of a user's: its table has the network's rules only, and its containers' published ports are
/// in the default network's. It is complete or not there at all.
pub fn ensure_network(config: &BridgeConfig, policy: Policy) -> Result<(), NetError> {
    let complete = || {
        bring_up(config)?;
        nat::enable_forwarding()?;
        let mut script = rules(&config.nft_table, &config.name, subnet_of(config)?, policy, "");
        if let Some((gateway, prefix)) = config.ipv6 {
            nat::enable_forwarding_v6()?;
            let subnet = Subnet6::new(gateway, prefix);
            script += &rules_v6(&config.nft_table, &config.name, subnet, policy);
        }
        nat::run_nft(&script)?;
        nat::route_loopback(&config.name)
    };
    complete().inspect_err(|_| {
        let _ = remove_bridge(&config.name, &config.nft_table);
    })
}

/// The interface itself.
fn bring_up(config: &BridgeConfig) -> Result<(), NetError> {
    let mut rtnl = Rtnl::open()?;
    let index = match find_bridge(&mut rtnl, &config.name)? {
        Some(link) => link.index,
        None => create_bridge(&mut rtnl, config)?,
    };
    let doing = format!("set up bridge {}", config.name);
    let mut requests = Vec::new();
    let ipv6 = config.ipv6.map(|(address, prefix)| (IpAddr::from(address), prefix));
    let mut missing: Vec<_> = std::iter::once((config.gateway.into(), config.prefix)).chain(ipv6).collect();
    for old in rtnl.addresses()?.into_iter().filter(|address| address.index == index) {
        let old = (IpAddr::from(old.address), old.prefix);
        if missing.contains(&old) {
            missing.retain(|address| *address != old);
        } else {
            // An earlier subnet of the same bridge.
            let message = RouteNetlinkMessage::DelAddress(address_message(index, old.0, old.1));
            requests.push(Request::new(message, 0, doing.as_str()));
        }
    }
    if config.ipv6.is_some() {
        switch_ipv6(&config.name, true);
    }
    for (address, prefix) in missing {
        let message = RouteNetlinkMessage::NewAddress(address_message(index, address, prefix));
        requests.push(Request::new(message, NLM_F_CREATE | NLM_F_REPLACE, doing.as_str()));
    }
    let mut up = set_up(index);
    up.attributes.push(LinkAttribute::Mtu(config.mtu));
    requests.push(Request::new(RouteNetlinkMessage::SetLink(up), 0, doing.as_str()));
    rtnl.send(requests)?;

    Ok(())
}

fn subnet_of(config: &BridgeConfig) -> Result<Subnet, NetError> {
    Subnet::new(config.gateway, config.prefix).map_err(|error| NetError::NftRefused(error.to_string()))
}

/// Removes the bridge and its table. What is not there is no error.
pub fn remove_bridge(name: &str, nft_table: &str) -> Result<(), NetError> {
    let mut rtnl = Rtnl::open()?;
    // A table whose bridge is gone would be found by nobody, so the bridge goes last.
    let removed = nat::remove(nft_table);
    if find_bridge(&mut rtnl, name)?.is_some() {
        delete(&mut rtnl, name)?;
    }
    removed
}

/// The bridges whose names start with `prefix`. The caller knows which of them belong to networks.
pub fn bridges(prefix: &str) -> Result<Vec<String>, NetError> {
    let links = Rtnl::open()?.links()?;
    let ours = links.into_iter().filter(|link| link.kind == "bridge" && link.name.starts_with(prefix));
    Ok(ours.map(|link| link.name).collect())
}

/// The host ends of veth pairs whose names start with `prefix`: those of containers that live, and those that a
/// crash has left. The caller knows which containers live.
pub fn leftover_links(prefix: &str) -> Result<Vec<String>, NetError> {
    let links = Rtnl::open()?.links()?;
    let ours = links.into_iter().filter(|link| link.kind == "veth" && link.name.starts_with(prefix));
    Ok(ours.map(|link| link.name).collect())
}

/// Deletes an interface (of a veth pair: both ends). One that is gone is no error.
pub fn delete_link(name: &str) -> Result<(), NetError> {
    delete(&mut Rtnl::open()?, name)
}

pub(crate) fn delete(rtnl: &mut Rtnl, name: &str) -> Result<(), NetError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    let request = Request::new(RouteNetlinkMessage::DelLink(message), 0, format!("delete interface {name}"));
    match rtnl.send(vec![request]) {
        Err(error) if error.is(Errno::NODEV) => Ok(()),
        result => result,
    }
}

fn find_bridge(rtnl: &mut Rtnl, name: &str) -> Result<Option<Link>, NetError> {
    match rtnl.find_link(name)? {
        Some(link) if link.kind != "bridge" => Err(NetError::NotABridge(name.to_owned())),
        found => Ok(found),
    }
}

fn create_bridge(rtnl: &mut Rtnl, config: &BridgeConfig) -> Result<u32, NetError> {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Unspec;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(config.name.clone()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        // A bridge without a MAC of its own takes its lowest port's, and changes it under the containers' feet.
        LinkAttribute::Address(parse_mac(&mac_for(config.gateway))?.to_vec()),
    ];
    let doing = format!("create bridge {}", config.name);
    let request = Request::new(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, doing);
    match rtnl.send(vec![request]) {
        // Somebody was faster; it may only be a bridge all the same.
        Err(error) if error.is(Errno::EXIST) => {
            find_bridge(rtnl, &config.name)?.map(|link| link.index).ok_or(error)
        }
        Err(error) => Err(error),
        Ok(()) => rtnl.index_of(&config.name),
    }
}
