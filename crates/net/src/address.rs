//! Subnets and MAC addresses: arithmetic only.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::NetError;

/// An IPv4 subnet with a prefix length of 1 to 30, so that it has a gateway and at least one address for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    network: u32,
    prefix: u8,
}

/// The text or the numbers are no subnet for containers.
#[derive(Debug, thiserror::Error)]
#[error("invalid IPv4 subnet {0:?}: want an address and a prefix length of 1 to 30, like 172.30.0.0/16")]
pub struct InvalidSubnet(pub String);

impl Subnet {
    /// The subnet that `address` is in.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Result<Self, InvalidSubnet> {
        if !(1..=30).contains(&prefix) {
            return Err(InvalidSubnet(format!("{address}/{prefix}")));
        }
        Ok(Self { network: u32::from(address) & mask(prefix), prefix })
    }

    /// The subnet's own address.
    #[must_use]
    pub fn network(self) -> Ipv4Addr {
        self.network.into()
    }

    /// The prefix length.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The last address.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        (self.network | !mask(self.prefix)).into()
    }

    /// The first host's address, which the bridge takes.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        (self.network + 1).into()
    }

    /// The addresses for containers: all but the network's, the gateway's and the broadcast address.
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        (self.network + 2..u32::from(self.broadcast())).map(Ipv4Addr::from)
    }

    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.network
    }

    /// Whether any address is in this and in `network/prefix`, which may be a single address or everything.
    #[must_use]
    pub fn overlaps(self, network: Ipv4Addr, prefix: u8) -> bool {
        let common = mask(prefix.min(self.prefix));
        u32::from(network) & common == self.network & common
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let invalid = || InvalidSubnet(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address = address.parse().ok().ok_or_else(invalid)?;
        Self::new(address, prefix.parse().ok().ok_or_else(invalid)?)
    }
}

/// An IPv6 subnet with a prefix length of 1 to 126.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet6 {
    network: u128,
    prefix: u8,
}

/// The text is no IPv6 subnet for containers.
#[derive(Debug, thiserror::Error)]
#[error("invalid IPv6 subnet {0:?}: want an address and a prefix length of 1 to 126, like fd00:1:2:3::/64")]
pub struct InvalidSubnet6(pub String);

impl Subnet6 {
    /// The subnet that `address` is in; a prefix length that no subnet has becomes the nearest.
    #[must_use]
    pub fn new(address: Ipv6Addr, prefix: u8) -> Self {
        let prefix = prefix.clamp(1, 126);
        Self { network: u128::from(address) & !hosts(prefix), prefix }
    }

    /// A unique local subnet that nobody else has (RFC 4193): `random` are 40 bits by chance.
    #[must_use]
    pub fn unique_local(random: [u8; 5]) -> Self {
        let mut bytes = [0; 16];
        bytes[0] = 0xfd;
        bytes[1..6].copy_from_slice(&random);
        Self::new(bytes.into(), 64)
    }

    /// The prefix length.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The subnet's own address.
    #[must_use]
    pub fn network(self) -> Ipv6Addr {
        self.network.into()
    }

    /// The last address.
    #[must_use]
    pub fn last(self) -> Ipv6Addr {
        (self.network | hosts(self.prefix)).into()
    }

    /// The first host's address, which the bridge takes.
    #[must_use]
    pub fn gateway(self) -> Ipv6Addr {
        (self.network + 1).into()
    }

    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(self, address: Ipv6Addr) -> bool {
        u128::from(address) & !hosts(self.prefix) == self.network
    }
}

/// The bits that tell a subnet's hosts apart.
fn hosts(prefix: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

impl FromStr for Subnet6 {
    type Err = InvalidSubnet6;

    fn from_str(text: &str) -> Result<Self, InvalidSubnet6> {
        let parts = text.split_once('/').and_then(|(address, prefix)| {
            let prefix = prefix.parse().ok().filter(|prefix| (1..=126).contains(prefix))?;
            Some(Self::new(address.parse().ok()?, prefix))
        });
        parts.ok_or_else(|| InvalidSubnet6(text.to_owned()))
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

/// The MAC address of whoever has this IPv4 address: `02:42` (Docker's locally administered prefix) and the address.
#[must_use]
pub fn mac_for(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Six bytes from `02:42:ac:1e:00:02`. Group addresses are refused: no interface can have one.
pub(crate) fn parse_mac(text: &str) -> Result<[u8; 6], NetError> {
    let invalid = || NetError::InvalidMac(text.to_owned());
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts
            .next()
            .filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
            .ok_or_else(invalid)?;
        *byte = u8::from_str_radix(part, 16).ok().ok_or_else(invalid)?;
    }
    if parts.next().is_some() || mac[0] & 1 == 1 || mac == [0; 6] {
        return Err(invalid());
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_counted_out() {
        let subnet: Subnet = "10.1.2.77/29".parse().unwrap();
        assert_eq!(subnet.to_string(), "10.1.2.72/29");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 1, 2, 73));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(10, 1, 2, 79));
        let hosts: Vec<_> = subnet.hosts().map(|a| a.octets()[3]).collect();
        assert_eq!(hosts, [74, 75, 76, 77, 78]);
        assert_eq!("10.0.0.0/30".parse::<Subnet>().unwrap().hosts().count(), 1);
        assert_eq!("172.30.0.0/16".parse::<Subnet>().unwrap().hosts().count(), 65_533);
        assert!(
            subnet.contains(Ipv4Addr::new(10, 1, 2, 79)) && !subnet.contains(Ipv4Addr::new(10, 1, 2, 80))
        );
    }

    #[test]
    fn overlap_goes_both_ways() {
        let subnet: Subnet = "172.30.0.0/16".parse().unwrap();
        for (network, prefix, expected) in [
            ([172, 30, 9, 0], 24, true),
            ([172, 16, 0, 0], 12, true),
            ([0, 0, 0, 0], 0, true),
            ([172, 30, 1, 1], 32, true),
            ([172, 31, 0, 0], 16, false),
            ([10, 0, 0, 0], 8, false),
        ] {
            assert_eq!(subnet.overlaps(network.into(), prefix), expected, "{network:?}/{prefix}");
        }
    }

    #[test]
    fn bad_subnets_are_refused() {
        for bad in
            ["", "10.0.0.0", "10.0.0.0/0", "10.0.0.0/31", "10.0.0/8", "10.0.0.0/-1", "::/64", "10.0.0.0/8/8"]
        {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn subnets_of_the_other_family() {
        let subnet: Subnet6 = "fd00:1:2:3::77/64".parse().unwrap();
        assert_eq!(
            (subnet.to_string().as_str(), subnet.gateway().to_string().as_str()),
            ("fd00:1:2:3::/64", "fd00:1:2:3::1")
        );
        assert!(subnet.contains("fd00:1:2:3:ffff::1".parse().unwrap()));
        assert!(!subnet.contains("fd00:1:2:4::1".parse().unwrap()));
        assert_eq!(Subnet6::unique_local([1, 2, 3, 4, 5]).to_string(), "fd01:203:405::/64");
        for bad in ["", "fd00::", "fd00::/0", "fd00::/127", "10.0.0.0/8"] {
            assert!(bad.parse::<Subnet6>().is_err(), "{bad}");
        }
    }

    #[test]
    fn macs_follow_the_address_and_parse() {
        let mac = mac_for(Ipv4Addr::new(172, 30, 0, 2));
        assert_eq!(mac, "02:42:ac:1e:00:02");
        assert_eq!(parse_mac(&mac).unwrap(), [2, 0x42, 0xac, 0x1e, 0, 2]);
        for bad in [
            "",
            "02:42:ac:1e:00",
            "02:42:ac:1e:00:02:03",
            "+2:42:ac:1e:00:02",
            "01:00:00:00:00:01",
            "0:0:0:0:0:0",
        ] {
            assert!(parse_mac(bad).is_err(), "{bad}");
        }
    }
}
