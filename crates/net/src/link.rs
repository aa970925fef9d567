//! A container's interface: the veth pair between its network namespace and the bridge.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use cofferdam_model::BridgeNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::address::parse_mac;
use crate::bridge::delete;
use crate::netlink::{Request, Rtnl};
use crate::{NetError, Subnet};

/// The interface's name inside a container.
pub const CONTAINER_INTERFACE: &str = "eth0";

/// The loopback interface has this index in every namespace.
const LOOPBACK: u32 = 1;

/// The host's side of a container's link. It keeps working on the host's network namespace after its process has
/// moved into another.
pub struct HostLink(Rtnl);

impl HostLink {
    /// Opens it. Call this before the network namespace is unshared.
    pub fn open() -> Result<Self, NetError> {
        Ok(Self(Rtnl::open()?))
    }

    /// Makes the veth pair: `network.host_interface` on the bridge, and `eth0` with its MAC address in the network
    /// namespace `namespace`, which [`configure`] or [`crate::tap_for_vm`] brings up. It goes away with that
    /// namespace.
    pub fn connect(&mut self, network: &BridgeNetwork, namespace: impl AsFd) -> Result<(), NetError> {
        let bridge = self.0.index_of(&network.bridge)?;
        let request = || -> Result<Request, NetError> {
            let message = veth_pair(network, bridge, namespace.as_fd().as_raw_fd())?;
            let doing = format!("create interface {} on bridge {}", network.host_interface, network.bridge);
            Ok(Request::new(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, doing))
        };
        let made = match self.0.send(vec![request()?]) {
            // The kernel takes a namespace apart some time after its last process: this is our own former link.
            Err(error) if error.is(Errno::EXIST) => {
                match self.0.find_link(&network.host_interface)? {
                    Some(link) if link.kind != "veth" => return Err(error),
                    Some(_) => delete(&mut self.0, &network.host_interface)?,
                    None => {}
                }
                self.0.send(vec![request()?])
            }
            result => result,
        };
        made?;
        if network.isolated { self.isolate(&network.host_interface) } else { Ok(()) }
    }

    /// Keeps a port of a bridge from the others that are kept so; the other end is not up yet.
    fn isolate(&mut self, host_interface: &str) -> Result<(), NetError> {
        let mut message = LinkMessage::default();
        message.header.index = self.0.index_of(host_interface)?;
        message.attributes = vec![LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
        ])];
        // Not SetLink: only this kind of request takes a port's data.
        let doing = format!("isolate interface {host_interface}");
        self.0.send(vec![Request::new(RouteNetlinkMessage::NewLink(message), 0, doing)])
    }
}

fn veth_pair(network: &BridgeNetwork, bridge: u32, namespace: i32) -> Result<LinkMessage, NetError> {
    // The kernel refuses to bring this end up (ENOTCONN) before it has the other.
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(CONTAINER_INTERFACE.to_owned()),
        LinkAttribute::Address(parse_mac(&network.mac)?.to_vec()),
        LinkAttribute::Mtu(network.mtu),
        LinkAttribute::NetNsFd(namespace),
    ];
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(network.host_interface.clone()),
        LinkAttribute::Mtu(network.mtu),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    Ok(message)
}

/// Brings loopback up in the network namespace of the calling thread.
pub fn loopback_up() -> Result<(), NetError> {
    Rtnl::open()?.send(vec![loopback_request()])
}

/// Gives `eth0` in the network namespace of the calling thread its address and default route, and brings loopback
/// up. [`HostLink::connect`] came before.
pub fn configure(network: &BridgeNetwork) -> Result<(), NetError> {
    let mut rtnl = Rtnl::open()?;
    let index = rtnl.index_of(CONTAINER_INTERFACE)?;
    without_ipv6();
    let mut requests = vec![loopback_request(), up_request(index)];
    requests.extend(address_and_route(index, network.address, network.prefix, network.gateway));
    rtnl.send(requests)
}

/// Switches IPv6 off on the container's interface before that comes up, as Docker does in networks that have none. A
/// kernel without IPv6 has nothing to switch off.
pub(crate) fn without_ipv6() {
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{CONTAINER_INTERFACE}/disable_ipv6"), "1");
}

/// Brings the container's interface up.
pub(crate) fn up_request(index: u32) -> Request {
    Request::new(
        RouteNetlinkMessage::SetLink(set_up(index)),
        0,
        format!("bring up interface {CONTAINER_INTERFACE}"),
    )
}

pub(crate) fn loopback_request() -> Request {
    Request::new(RouteNetlinkMessage::SetLink(set_up(LOOPBACK)), 0, "bring up interface lo")
}

/// The interface must be up when they are sent.
pub(crate) fn address_and_route(
    index: u32,
    address: Ipv4Addr,
    prefix: u8,
    gateway: Ipv4Addr,
) -> [Request; 2] {
    let address = RouteNetlinkMessage::NewAddress(address_message(index, address, prefix));
    let route = RouteNetlinkMessage::NewRoute(default_route(index, gateway));
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    [
        Request::new(address, flags, format!("give interface {CONTAINER_INTERFACE} its address")),
        Request::new(route, flags, format!("set the default route to {gateway}")),
    ]
}

pub(crate) fn set_up(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

pub(crate) fn address_message(index: u32, address: Ipv4Addr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Local(address.into()), AddressAttribute::Address(address.into())];
    if let Ok(subnet) = Subnet::new(address, prefix) {
        message.attributes.push(AddressAttribute::Broadcast(subnet.broadcast()));
    }
    message
}

fn default_route(index: u32, gateway: Ipv4Addr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes =
        vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway)), RouteAttribute::Oif(index)];
    message
}
