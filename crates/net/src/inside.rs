//! An interface's inside: what a container sees of it, at the process level in the shim's namespace and at the hyperv
//! level in the guest.

use std::net::IpAddr;

use cofferdam_model::InterfaceConfig;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::address::parse_mac;
use crate::netlink::{Request, Rtnl};
use crate::{NetError, Subnet};

/// The loopback interface has this index in every namespace.
const LOOPBACK: u32 = 1;

/// Whether two are the same interface: where the default route leads is another matter.
pub(crate) fn same_but_default(one: &InterfaceConfig, other: &InterfaceConfig) -> bool {
    *one == InterfaceConfig { is_default: one.is_default, ..other.clone() }
}

/// Brings loopback up in the network namespace of the calling thread.
pub fn loopback_up() -> Result<(), NetError> {
    Rtnl::open()?.send(vec![loopback_request()])
}

pub(crate) fn loopback_request() -> Request {
    up_request(LOOPBACK, "lo")
}

/// Brings an interface up.
pub(crate) fn up_request(index: u32, name: &str) -> Request {
    Request::new(RouteNetlinkMessage::SetLink(set_up(index)), 0, format!("bring up interface {name}"))
}

pub(crate) fn set_up(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

/// Gives an interface that may be up another MAC address, and its MTU.
pub(crate) fn identity_request(index: u32, config: &InterfaceConfig) -> Result<Request, NetError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes =
        vec![LinkAttribute::Address(parse_mac(&config.mac)?.to_vec()), LinkAttribute::Mtu(config.mtu)];
    let doing =
        format!("give interface {} its MAC address {} and MTU {}", config.name, config.mac, config.mtu);
    Ok(Request::new(RouteNetlinkMessage::SetLink(message), 0, doing))
}

/// Switches IPv6 on or off on an interface before that comes up: off, as Docker does, in networks that have none. A
/// kernel without IPv6 has nothing to switch off. Routers' words are not listened to: addresses are the daemon's to give.
pub(crate) fn switch_ipv6(name: &str, on: bool) {
    let set = |key: &str, value: &str| {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{key}"), value);
    };
    if on {
        set("accept_ra", "0");
    }
    set("disable_ipv6", if on { "0" } else { "1" });
}

/// The addresses. The interface must be up when they are sent, or its routes would not come.
pub(crate) fn address_requests(index: u32, config: &InterfaceConfig) -> Vec<Request> {
    let addresses = addresses(config).into_iter();
    addresses
        .map(|(address, prefix)| {
            let message = RouteNetlinkMessage::NewAddress(address_message(index, address, prefix));
            let doing = format!("give interface {} its address {address}/{prefix}", config.name);
            Request::new(message, NLM_F_CREATE | NLM_F_REPLACE, doing)
        })
        .collect()
}

/// Takes the addresses away again, and with them the routes.
pub(crate) fn no_address_requests(index: u32, config: &InterfaceConfig) -> Vec<Request> {
    let addresses = addresses(config).into_iter();
    addresses
        .map(|(address, prefix)| {
            let message = RouteNetlinkMessage::DelAddress(address_message(index, address, prefix));
            Request::new(message, 0, format!("take the address of interface {} away", config.name))
        })
        .collect()
}

fn addresses(config: &InterfaceConfig) -> Vec<(IpAddr, u8)> {
    let ipv6 = config.ipv6.map(|ipv6| (IpAddr::from(ipv6.address), ipv6.prefix));
    std::iter::once((config.address.into(), config.prefix)).chain(ipv6).collect()
}

pub(crate) fn address_message(index: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    match address {
        IpAddr::V4(address) => {
            message.header.family = AddressFamily::Inet;
            if let Ok(subnet) = Subnet::new(address, prefix) {
                message.attributes.push(AddressAttribute::Broadcast(subnet.broadcast()));
            }
        }
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            // The daemon gives no address twice: nobody has to wait for the interface to find out.
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    message
}

/// Has what knows no better way go by this interface's gateways, whatever was the way before.
pub(crate) fn default_route_requests(index: u32, config: &InterfaceConfig) -> Vec<Request> {
    gateways(config)
        .map(|gateway| {
            let message = RouteNetlinkMessage::NewRoute(default_route(index, gateway));
            let doing = format!("set the default route to {gateway}");
            Request::new(message, NLM_F_CREATE | NLM_F_REPLACE, doing)
        })
        .collect()
}

/// Takes the default routes of the interface that had them away, unless it is the next to have them. Those that are gone
/// are no error.
pub(crate) fn leave_default_route<'a>(
    rtnl: &mut Rtnl,
    now: impl Iterator<Item = &'a InterfaceConfig>,
    next: Option<&InterfaceConfig>,
) -> Result<(), NetError> {
    for old in now.filter(|old| old.is_default && next.is_none_or(|next| next.name != old.name)) {
        let index = rtnl.index_of(&old.name)?;
        for gateway in gateways(old) {
            let message = RouteNetlinkMessage::DelRoute(default_route(index, gateway));
            let request = Request::new(message, 0, format!("take the default route to {gateway} away"));
            match rtnl.send(vec![request]) {
                Err(error) if error.is(Errno::SRCH) => {}
                result => result?,
            }
        }
    }
    Ok(())
}

fn gateways(config: &InterfaceConfig) -> impl Iterator<Item = IpAddr> {
    let ipv6 = config.ipv6.and_then(|ipv6| ipv6.gateway).map(IpAddr::from);
    config.gateway.map(IpAddr::from).into_iter().chain(ipv6)
}

fn default_route(index: u32, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let (family, gateway) = match gateway {
        IpAddr::V4(address) => (AddressFamily::Inet, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, RouteAddress::Inet6(address)),
    };
    message.header.address_family = family;
    message.attributes = vec![RouteAttribute::Gateway(gateway), RouteAttribute::Oif(index)];
    message
}
