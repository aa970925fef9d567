//! The network inside a utility VM, set up by its agent. `eth0` is the VM's one card; further networks are VLANs on it,
//! which the host's traffic control tells apart ([`crate::Wiring`]).

use cofferdam_model::InterfaceConfig;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo, LinkMessage};

use crate::NetError;
use crate::address::parse_mac;
use crate::bridge::delete;
use crate::inside::{
    address_requests, default_route_requests, identity_request, leave_default_route, loopback_request,
    no_address_requests, same_but_default, switch_ipv6, up_request,
};
use crate::netlink::{Link, Request, Rtnl};

/// The card's name.
const CARD: &str = "eth0";
/// Ethernet's MTU, which it has at first.
const MTU: u32 = 1500;

/// A VM's card and what is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    index: u32,
    /// Its own MTU, which is the most for what is on it.
    mtu: u32,
    now: Vec<InterfaceConfig>,
}

impl Card {
    /// Makes the one network card `eth0` and brings it up, without any address, and loopback. It is what clones of a VM
    /// have behind them: bringing a card up is most of the work.
    pub fn prepare() -> Result<Self, NetError> {
        let mut rtnl = Rtnl::open()?;
        let card = single_card(&rtnl.links()?)?;
        if card.name != CARD {
            let mut name = LinkMessage::default();
            name.header.index = card.index;
            name.attributes = vec![LinkAttribute::IfName(CARD.to_owned())];
            let message = RouteNetlinkMessage::SetLink(name);
            rtnl.send(vec![Request::new(message, 0, format!("name interface {}", card.name))])?;
        }
        switch_ipv6(CARD, false);
        rtnl.send(vec![loopback_request(), up_request(card.index, CARD)])?;
        Ok(Self { index: card.index, mtu: MTU, now: Vec::new() })
    }

    /// Makes `wanted` what is there. After an error some of it may be: another call can still reach any state.
    pub fn set(&mut self, wanted: &[InterfaceConfig]) -> Result<(), NetError> {
        let mut rtnl = Rtnl::open()?;
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.now)
            .into_iter()
            .partition(|old| wanted.iter().any(|new| same_but_default(old, new)));
        self.now = stay;
        for old in &go {
            match old.vlan() {
                Some(_) => delete(&mut rtnl, &old.name)?,
                // The card stays, for the VLANs.
                None => {
                    rtnl.send(no_address_requests(self.index, old))?;
                    switch_ipv6(CARD, false);
                }
            }
        }
        let is_new = |new: &&InterfaceConfig| !self.now.iter().any(|old| same_but_default(old, new));
        let (vlans, card): (Vec<_>, Vec<_>) = wanted.iter().partition(|new| new.vlan().is_some());
        // First the card: what is on it cannot have a larger MTU.
        for new in card.into_iter().filter(is_new) {
            if new.ipv6.is_some() {
                switch_ipv6(CARD, true);
            }
            // A virtio card takes another MAC address while it is up.
            let mut requests = vec![identity_request(self.index, new)?];
            requests.extend(address_requests(self.index, new));
            rtnl.send(requests)?;
            self.mtu = new.mtu;
        }
        for new in vlans.into_iter().filter(is_new) {
            rtnl.send(vec![vlan_request(self.index, self.mtu, new)?])?;
            let index = rtnl.index_of(&new.name)?;
            switch_ipv6(&new.name, new.ipv6.is_some());
            let mut requests = vec![up_request(index, &new.name)];
            requests.extend(address_requests(index, new));
            rtnl.send(requests)?;
        }
        let next = wanted.iter().find(|new| new.is_default);
        leave_default_route(&mut rtnl, self.now.iter(), next)?;
        self.now = wanted.to_vec();
        if let Some(next) = next {
            let index = if next.vlan().is_some() { rtnl.index_of(&next.name)? } else { self.index };
            rtnl.send(default_route_requests(index, next))?;
        }
        Ok(())
    }
}

fn vlan_request(card: u32, most: u32, config: &InterfaceConfig) -> Result<Request, NetError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(config.name.clone()),
        LinkAttribute::Address(parse_mac(&config.mac)?.to_vec()),
        LinkAttribute::Mtu(config.mtu.min(most)),
        LinkAttribute::Link(card),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(config.vlan().unwrap_or_default())])),
        ]),
    ];
    let doing = format!("create interface {}", config.name);
    Ok(Request::new(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, doing))
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
