//! A container's links: what leads from its network namespace to a bridge or an interface of the host.

use std::os::fd::{AsFd, AsRawFd};

use cofferdam_model::{Interface, InterfaceConfig, Link, MacvlanMode};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use rustix::io::Errno;

use crate::NetError;
use crate::address::parse_mac;
use crate::bridge::delete;
use crate::netlink::{Request, Rtnl};

/// The host's side of a container's links. It keeps working on the host's network namespace after its process has
/// moved into another.
pub struct HostLink(Rtnl);

impl HostLink {
    /// Opens it. Call this before the network namespace is unshared.
    pub fn open() -> Result<Self, NetError> {
        Ok(Self(Rtnl::open()?))
    }

    /// Makes the interface, down, with its MAC address in the network namespace `namespace`, and what it leads to on the
    /// host. It goes away with that namespace.
    pub fn connect(&mut self, interface: &Interface, namespace: impl AsFd) -> Result<(), NetError> {
        let namespace = namespace.as_fd().as_raw_fd();
        match &interface.link {
            Link::Bridge { bridge, host_interface, isolated } => {
                self.veth(&interface.config, bridge, host_interface, namespace)?;
                if *isolated { self.isolate(host_interface) } else { Ok(()) }
            }
            Link::Macvlan { parent, mode } => self.macvlan(&interface.config, parent, *mode, namespace),
        }
    }

    fn veth(
        &mut self,
        config: &InterfaceConfig,
        bridge: &str,
        host_interface: &str,
        namespace: i32,
    ) -> Result<(), NetError> {
        let index = self.0.index_of(bridge)?;
        let request = || -> Result<Request, NetError> {
            let message = veth_pair(config, index, host_interface, namespace)?;
            let doing = format!("create interface {host_interface} on bridge {bridge}");
            Ok(Request::new(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, doing))
        };
        match self.0.send(vec![request()?]) {
            // The kernel takes a namespace apart some time after its last process: this is our own former link.
            Err(error) if error.is(Errno::EXIST) => {
                match self.0.find_link(host_interface)? {
                    Some(link) if link.kind != "veth" => return Err(error),
                    Some(_) => delete(&mut self.0, host_interface)?,
                    None => {}
                }
                self.0.send(vec![request()?])
            }
            result => result,
        }
    }

    fn macvlan(
        &mut self,
        config: &InterfaceConfig,
        parent: &str,
        mode: MacvlanMode,
        namespace: i32,
    ) -> Result<(), NetError> {
        let mode = match mode {
            MacvlanMode::Bridge => MacVlanMode::Bridge,
            MacvlanMode::Private => MacVlanMode::Private,
            MacvlanMode::Vepa => MacVlanMode::Vepa,
            MacvlanMode::Passthru => MacVlanMode::Passthrough,
        };
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(config.name.clone()),
            LinkAttribute::Address(parse_mac(&config.mac)?.to_vec()),
            LinkAttribute::Mtu(config.mtu),
            LinkAttribute::Link(self.0.index_of(parent)?),
            LinkAttribute::NetNsFd(namespace),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)])),
            ]),
        ];
        let doing = format!("create a macvlan interface on {parent}");
        let message = RouteNetlinkMessage::NewLink(message);
        self.0.send(vec![Request::new(message, NLM_F_CREATE | NLM_F_EXCL, doing)])
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

fn veth_pair(
    config: &InterfaceConfig,
    bridge: u32,
    host_interface: &str,
    namespace: i32,
) -> Result<LinkMessage, NetError> {
    // The kernel refuses to bring this end up (ENOTCONN) before it has the other.
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(config.name.clone()),
        LinkAttribute::Address(parse_mac(&config.mac)?.to_vec()),
        LinkAttribute::Mtu(config.mtu),
        LinkAttribute::NetNsFd(namespace),
    ];
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(host_interface.to_owned()),
        LinkAttribute::Mtu(config.mtu),
        LinkAttribute::Controller(bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    Ok(message)
}
