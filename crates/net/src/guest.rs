//! The network inside a utility VM, set up by its agent.

use std::net::Ipv4Addr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use crate::NetError;
use crate::address::parse_mac;
use crate::link::{CONTAINER_INTERFACE, address_and_route, address_message, loopback_request, set_up};
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

/// Configures the one network card: MAC address, the name `eth0`, MTU, address, default route; and loopback. A clone
/// wakes up with its template's MAC and perhaps IP address: the card is taken down first and comes up with its own
/// only.
pub fn configure_guest(network: &GuestNetwork) -> Result<(), NetError> {
    let mut rtnl = Rtnl::open()?;
    let card = single_card(&rtnl.links()?)?;

    let mut down = LinkMessage::default();
    down.header.index = card.index;
    down.header.change_mask = LinkFlags::Up;
    let mut identity = LinkMessage::default();
    identity.header.index = card.index;
    identity.attributes =
        vec![LinkAttribute::Address(parse_mac(&network.mac)?.to_vec()), LinkAttribute::Mtu(network.mtu)];
    if card.name != CONTAINER_INTERFACE {
        identity.attributes.push(LinkAttribute::IfName(CONTAINER_INTERFACE.to_owned()));
    }
    let set = |message, doing: &str| {
        Request::new(RouteNetlinkMessage::SetLink(message), 0, format!("{doing} interface {}", card.name))
    };
    let mut requests = vec![
        loopback_request(),
        set(down, "take down"),
        set(identity, "name and address"),
        set(set_up(card.index), "bring up"),
    ];
    for old in rtnl.addresses()?.into_iter().filter(|old| old.index == card.index) {
        if (old.address, old.prefix) != (network.address, network.prefix) {
            let message =
                RouteNetlinkMessage::DelAddress(address_message(card.index, old.address, old.prefix));
            requests.push(Request::new(
                message,
                0,
                format!("remove the old address of interface {}", card.name),
            ));
        }
    }
    requests.extend(address_and_route(card.index, network.address, network.prefix, network.gateway));
    rtnl.send(requests)
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
