//! The network inside a utility VM, set up by its agent.

use std::net::Ipv4Addr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use crate::NetError;
use crate::address::parse_mac;
use crate::link::{
    CONTAINER_INTERFACE, address_and_route, address_message, loopback_request, up_request, without_ipv6,
};
use crate::netlink::{Link, Request, Rtnl};

/// What the guest's card is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestNetwork {
    /// `02:42:…`
    pub mac: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// The default route's gateway.
    pub gateway: Ipv4Addr,
    /// The MTU.
    pub mtu: u32,
}

/// A card that is ready for its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Card {
    index: u32,
}

/// Makes the one network card `eth0` and brings it up, without any address, and loopback. It is what clones of a VM have
/// behind them: bringing a card up is most of the work.
pub fn prepare_card() -> Result<Card, NetError> {
    let mut rtnl = Rtnl::open()?;
    let card = single_card(&rtnl.links()?)?;
    if card.name != CONTAINER_INTERFACE {
        let mut name = LinkMessage::default();
        name.header.index = card.index;
        name.attributes = vec![LinkAttribute::IfName(CONTAINER_INTERFACE.to_owned())];
        let message = RouteNetlinkMessage::SetLink(name);
        rtnl.send(vec![Request::new(message, 0, format!("name interface {}", card.name))])?;
    }
    without_ipv6();
    rtnl.send(vec![loopback_request(), up_request(card.index)])?;
    Ok(Card { index: card.index })
}

/// Gives the card its MAC address, MTU, address and default route. A virtio card takes another MAC address while it is
/// up.
pub fn identify_card(card: Card, network: &GuestNetwork) -> Result<(), NetError> {
    let mut identity = LinkMessage::default();
    identity.header.index = card.index;
    identity.attributes =
        vec![LinkAttribute::Address(parse_mac(&network.mac)?.to_vec()), LinkAttribute::Mtu(network.mtu)];
    let message = RouteNetlinkMessage::SetLink(identity);
    let mut requests =
        vec![Request::new(message, 0, format!("give interface {CONTAINER_INTERFACE} its MAC"))];
    requests.extend(address_and_route(card.index, network.address, network.prefix, network.gateway));
    Rtnl::open()?.send(requests)
}

/// Takes the address away again, and with it the routes.
pub fn unidentify_card(card: Card, network: &GuestNetwork) -> Result<(), NetError> {
    let address = address_message(card.index, network.address, network.prefix);
    let message = RouteNetlinkMessage::DelAddress(address);
    let what = format!("take the address of interface {CONTAINER_INTERFACE} away");
    Rtnl::open()?.send(vec![Request::new(message, 0, what)])
}

/// The only Ethernet interface, or the only one among several that is a card and not made by software.
fn single_card(links: &[Link]) -> Result<Link, NetError> {
    let ethernet: Vec<&Link> = links.iter().filter(|link| link.is_ethernet && !link.is_loopback).collect();
    let cards: Vec<&Link> = ethernet.iter().copied().filter(|link| link.kind.is_empty()).collect();
    match (ethernet.as_slice(), cards.as_slice()) {
        ([card], _) | (_, [card]) => Ok((*card).clone()),
        _ => Err(NetError::NoSingleCard(
            links
                .iter()
                .map(|link| link.name.as_str())
                .filter(|name| *name != "lo")
                .collect::<Vec<_>>()
                .join(", "),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, kind: &str) -> Link {
        Link { index: 5, name: name.into(), kind: kind.into(), is_ethernet: true, is_loopback: false }
    }

    #[test]
    fn the_card_stands_out() {
        let lo = Link { is_ethernet: false, is_loopback: true, ..link("lo", "") };
        assert_eq!(single_card(&[lo.clone(), link("enp0s3", "")]).unwrap().name, "enp0s3");
        assert_eq!(
            single_card(&[lo.clone(), link("dummy0", "dummy"), link("eth0", "")]).unwrap().name,
            "eth0"
        );
        assert_eq!(single_card(&[lo.clone(), link("tap1", "tun")]).unwrap().name, "tap1");
        let error = single_card(&[lo.clone(), link("eth0", ""), link("eth1", "")]).unwrap_err().to_string();
        assert!(error.ends_with("interfaces: eth0, eth1"), "{error}");
        assert!(single_card(&[lo]).unwrap_err().to_string().ends_with("there are none"));
    }
}
