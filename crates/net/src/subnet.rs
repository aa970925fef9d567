//! Choosing a subnet that nothing on the host uses.

use std::net::Ipv4Addr;

use crate::netlink::{Inet, Rtnl};
use crate::{NetError, Subnet};

/// A private subnet, as its gateway's address and its prefix length, that overlaps no address and no route of the
/// host: 172.30.0.0/16 and downward to 172.17.0.0/16, then 192.168.x.0/24, then 10.x.0.0/16. Default routes do not
/// count.
pub fn free_subnet() -> Result<(Ipv4Addr, u8), NetError> {
    let subnet = first_free(&used()?).ok_or(NetError::NoFreeSubnet)?;
    Ok((subnet.gateway(), subnet.prefix()))
}

/// Whether a subnet overlaps no address and no route of the host: one that was chosen earlier may have been taken
/// since. A subnet that makes no sense is not free.
pub fn is_free(gateway: Ipv4Addr, prefix: u8) -> Result<bool, NetError> {
    let used = used()?;
    Ok(Subnet::new(gateway, prefix).is_ok_and(|subnet| overlaps_none(subnet, &used)))
}

/// Every address and route of the host.
fn used() -> Result<Vec<Inet>, NetError> {
    let mut rtnl = Rtnl::open()?;
    let mut used = rtnl.addresses()?;
    used.extend(rtnl.routes()?);
    Ok(used)
}

fn overlaps_none(subnet: Subnet, used: &[Inet]) -> bool {
    !used.iter().any(|inet| subnet.overlaps(inet.address, inet.prefix))
}

fn first_free(used: &[Inet]) -> Option<Subnet> {
    candidates().find(|subnet| overlaps_none(*subnet, used))
}

fn candidates() -> impl Iterator<Item = Subnet> {
    let sixteen = (17..=30).rev().map(|b| (Ipv4Addr::new(172, b, 0, 0), 16));
    let small = (16..=255).rev().map(|c| (Ipv4Addr::new(192, 168, c, 0), 24));
    let ten = (128..=255).rev().map(|b| (Ipv4Addr::new(10, b, 0, 0), 16));
    sixteen.chain(small).chain(ten).filter_map(|(network, prefix)| Subnet::new(network, prefix).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(networks: &[([u8; 4], u8)]) -> Vec<Inet> {
        networks.iter().map(|(a, prefix)| Inet { address: (*a).into(), prefix: *prefix, index: 1 }).collect()
    }

    #[test]
    fn what_the_host_uses_is_passed_over() {
        let first = |networks: &[([u8; 4], u8)]| first_free(&used(networks)).map(|subnet| subnet.to_string());
        assert_eq!(first(&[]).as_deref(), Some("172.30.0.0/16"));
        assert_eq!(first(&[([172, 30, 5, 1], 24), ([172, 29, 0, 1], 32)]).as_deref(), Some("172.28.0.0/16"));
        assert_eq!(first(&[([172, 16, 0, 0], 12)]).as_deref(), Some("192.168.255.0/24"));
        assert_eq!(first(&[([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)]).as_deref(), Some("10.255.0.0/16"));
        assert_eq!(first(&[([0, 0, 0, 0], 1), ([128, 0, 0, 0], 1)]), None);
    }
}
