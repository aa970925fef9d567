//! A VM's links: a TAP device beside the container's interfaces in its network namespace, joined to them by traffic
//! control.
//!
//! The guest takes over the interfaces' MAC and IP addresses, so at both levels a bridge sees the same container. Frames
//! carry a virtio-net header, so unfinished checksums and large segments pass to the guest's driver as they are.

use std::os::fd::OwnedFd;

use cofferdam_model::Interface;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkAttribute;

use crate::NetError;
use crate::inside::{set_up, up_request};
use crate::netlink::{Request, Rtnl};
use crate::traffic::{classify, ingress, redirect};

const TAP: &str = "tap0";

/// Room for the largest frame of any network; what the guest sends is bounded by its own interfaces' MTUs.
const MTU: u32 = 65521;

/// The TAP device of a VM.
pub(crate) struct Tap {
    /// Names of interfaces whose frames go to it.
    joined: Vec<String>,
    /// Whether it is up, and its own frames go somewhere.
    up: bool,
}

impl Tap {
    /// Makes the device in the network namespace of the calling thread, with its queue.
    pub(crate) fn open() -> Result<(Self, OwnedFd), NetError> {
        silence_ipv6();
        let queue = cofferdam_sys::tap::open(TAP).map_err(NetError::Tap)?;
        Ok((Self { joined: Vec::new(), up: false }, queue))
    }

    /// An interface of this name is gone.
    pub(crate) fn forget(&mut self, name: &str) {
        self.joined.retain(|joined| joined != name);
    }

    /// Joins it to these interfaces, which it brings up, and to no other.
    pub(crate) fn join(&mut self, rtnl: &mut Rtnl, interfaces: &[Interface]) -> Result<(), NetError> {
        let tap = rtnl.index_of(TAP)?;
        let mut requests = Vec::new();
        if !self.up {
            let mut up = set_up(tap);
            up.attributes.push(LinkAttribute::Mtu(MTU));
            requests.push(Request::new(
                RouteNetlinkMessage::SetLink(up),
                0,
                format!("bring up interface {TAP}"),
            ));
            requests.push(ingress(tap));
        }
        // Programs must live until the kernel has taken them.
        let mut programs = Vec::new();
        let (mut untagged, mut vlans) = (None, Vec::new());
        for interface in interfaces {
            let name = &interface.config.name;
            let index = rtnl.index_of(name)?;
            let is_new = !self.joined.contains(name);
            if is_new {
                requests.push(up_request(index, name));
            }
            match interface.config.vlan() {
                None => {
                    untagged = Some(index);
                    if is_new {
                        requests.extend([ingress(index), redirect(index, tap)]);
                    }
                }
                Some(vlan) => {
                    vlans.push((vlan, index));
                    if is_new {
                        let program =
                            cofferdam_sys::vlan_filter::tag(vlan, tap).map_err(NetError::Program)?;
                        requests.extend([ingress(index), classify(index, &program)]);
                        programs.push(program);
                    }
                }
            }
        }
        match untagged {
            // Nearly every container's: no program is needed.
            Some(card) if vlans.is_empty() && !self.up => requests.push(redirect(tap, card)),
            _ => {
                let program =
                    cofferdam_sys::vlan_filter::sort(untagged, &vlans).map_err(NetError::Program)?;
                requests.push(classify(tap, &program));
                programs.push(program);
            }
        }
        rtnl.send(requests)?;
        self.up = true;
        self.joined = interfaces.iter().map(|interface| interface.config.name.clone()).collect();
        Ok(())
    }
}

/// Makes the TAP device of a VM without a network: every VM has the same devices, and this one leads nowhere.
pub fn tap_to_nowhere() -> Result<OwnedFd, NetError> {
    cofferdam_sys::tap::open(TAP).map_err(NetError::Tap)
}

/// Has this namespace send no IPv6 of its own under the MAC address that is the guest's. A kernel without IPv6 has
/// nothing to switch off.
fn silence_ipv6() {
    for scope in ["all", "default"] {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
}
