//! A VM's link: a TAP device beside `eth0` in the container's network namespace, joined to it by traffic control.
//!
//! The guest takes over `eth0`'s MAC and IP address, so at both levels the bridge sees the same container. Frames
//! carry a virtio-net header, so unfinished checksums and large segments pass to the guest's driver as they are.

use std::os::fd::OwnedFd;

use cofferdam_model::BridgeNetwork;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkAttribute;

use crate::NetError;
use crate::link::{CONTAINER_INTERFACE, loopback_request, set_up, up_request};
use crate::netlink::{Request, Rtnl};
use crate::redirect::redirect;

const TAP: &str = "tap0";

/// Makes the TAP device in the network namespace of the calling thread, joins it to `eth0` and returns its queue,
/// which is QEMU's `-netdev tap,fd=…`. [`crate::HostLink::connect`] came before. The device lasts as long as the
/// descriptor is open somewhere.
pub fn tap_for_vm(network: &BridgeNetwork) -> Result<OwnedFd, NetError> {
    silence_ipv6();
    let tap = cofferdam_sys::tap::open(TAP).map_err(NetError::Tap)?;
    let mut rtnl = Rtnl::open()?;
    let (outer, inner) = (rtnl.index_of(CONTAINER_INTERFACE)?, rtnl.index_of(TAP)?);
    let mut up = set_up(inner);
    up.attributes.push(LinkAttribute::Mtu(network.mtu));
    let mut requests = vec![
        loopback_request(),
        up_request(outer),
        Request::new(RouteNetlinkMessage::SetLink(up), 0, format!("bring up interface {TAP}")),
    ];
    requests.extend(redirect(outer, inner));
    requests.extend(redirect(inner, outer));
    rtnl.send(requests)?;
    Ok(tap)
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
