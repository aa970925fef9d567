//! A container's place in a network: as asked for, and as it gets it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use cofferdam_model::{
    ContainerId, Interface, InterfaceConfig, Ipv6Config, Link, MOST_NETWORKS, MacvlanMode,
};
use cofferdam_store::{Address, AddressPool6, WantedAddress};
use serde::{Deserialize, Serialize};

use super::{Driver, Network};
use crate::containers::config::{self, HostConfig, NetworkingConfig};
use crate::containers::record::{Joined, Record};
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};
use crate::network;

/// What a container has asked of a network. It is in the container's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network's ID.
    pub network: String,
    /// Its name.
    pub name: String,
    /// Further names for the container.
    pub aliases: Vec<String>,
    /// Further names for others, for this container only: `container:alias`.
    pub links: Vec<String>,
    /// The address that it must have.
    pub address: Option<Ipv4Addr>,
    /// The same of the network's IPv6.
    pub address6: Option<Ipv6Addr>,
    /// The MAC address that it must have.
    pub mac: Option<String>,
}

/// A network by what it is to a container.
pub enum Place {
    /// The default one.
    Default,
    /// A user's.
    User(Arc<Network>),
}

impl Place {
    /// The network of this name or ID. A name that is nobody's is 400, not 404: clients read the latter as a missing
    /// image when they create a container, and pull it.
    pub fn find(engine: &Engine, name: &str) -> ApiResult<Self> {
        if matches!(name, "" | "default" | network::NAME) || name == engine.network.id {
            return Ok(Self::Default);
        }
        let found = engine.networks.find(name);
        found.map(Self::User).map_err(|_absent| ApiError::bad_request(format!("network {name} not found")))
    }

    fn id_and_name(&self, engine: &Engine) -> (String, String) {
        match self {
            Self::Default => (engine.network.id.clone(), network::NAME.to_owned()),
            Self::User(network) => (network.id.clone(), network.name.clone()),
        }
    }

    /// A container's place in it, checked.
    pub fn endpoint(&self, engine: &Engine, asked: &config::Endpoint) -> ApiResult<Endpoint> {
        let (network, name) = self.id_and_name(engine);
        let mac = Some(asked.mac_address.as_str()).filter(|mac| !mac.is_empty());
        let mut endpoint = Endpoint {
            network,
            name,
            aliases: asked.aliases.clone(),
            links: asked.links.clone(),
            mac: mac.map(check_mac).transpose()?,
            ..Endpoint::default()
        };
        let pinned = |key: &str| {
            asked.ipam_config.get(key).and_then(|value| value.as_str()).filter(|value| !value.is_empty())
        };
        let (v4, v6) = (pinned("IPv4Address"), pinned("IPv6Address"));
        let Self::User(network) = self else {
            if v4.is_some() || v6.is_some() {
                return Err(ApiError::bad_request(
                    "invalid config for network bridge: invalid endpoint settings:\nuser specified IP address is \
                     supported on user defined networks only",
                ));
            }
            if !endpoint.aliases.is_empty() {
                return Err(ApiError::bad_request(
                    "network-scoped alias is supported only for containers in user defined networks",
                ));
            }
            return Ok(endpoint);
        };
        let refused = |text: String| ApiError::bad_request(format!("invalid endpoint settings:\n{text}"));
        let unchosen = || {
            refused(
                "user specified IP address is supported only when connecting to networks with user configured \
                 subnets"
                    .to_owned(),
            )
        };
        let outside = |address: &str| {
            refused(format!("no configured subnet or ip-range contain the IP address {address}"))
        };
        if let Some(text) = v4 {
            let address =
                text.parse().map_err(|_unreadable| refused(format!("invalid IPv4 address: {text}")))?;
            if !network.spec.chosen {
                return Err(unchosen());
            }
            if !network.spec.allows(address) {
                return Err(outside(text));
            }
            endpoint.address = Some(address);
        }
        if let Some(text) = v6 {
            let address =
                text.parse().map_err(|_unreadable| refused(format!("invalid IPv6 address: {text}")))?;
            let subnet = network.spec.ipv6.as_ref().ok_or_else(|| outside(text))?;
            if !subnet.chosen {
                return Err(unchosen());
            }
            if !subnet.allows(address) {
                return Err(outside(text));
            }
            endpoint.address6 = Some(address);
        }
        let good = |text: &str| {
            !text.is_empty() && text.len() <= 253 && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Some(bad) = endpoint.aliases.iter().find(|alias| !good(alias)) {
            return Err(ApiError::bad_request(format!("invalid network-scoped alias: {bad:?}")));
        }
        for link in &endpoint.links {
            let (name, alias) = super::links::parse(link);
            engine.containers.find(name)?;
            if !good(alias) {
                return Err(ApiError::bad_request(format!("bad format for links: {link}")));
            }
        }
        Ok(endpoint)
    }
}

/// Finds the networks that a request names, the one of its network mode first. None when it has no network of its own.
pub fn resolve(
    engine: &Engine,
    host: &HostConfig,
    networking: &NetworkingConfig,
) -> ApiResult<Vec<Endpoint>> {
    let mode = host.network_mode.as_str();
    let asked = &networking.endpoints_config;
    if is_own_mode(mode) {
        let other = asked.keys().find(|name| name.as_str() != mode && name.as_str() != "default");
        return match other {
            None => Ok(Vec::new()),
            Some(name) if mode == "none" => Err(ApiError::bad_request(format!(
                "container cannot be connected to multiple networks with one of the networks in private (none) \
                 mode: {name}"
            ))),
            Some(name) => Err(ApiError::bad_request(format!(
                "conflicting options: network {name} and the network mode {mode}"
            ))),
        };
    }
    let first = Place::find(engine, mode)?;
    let id = first.id_and_name(engine).0;
    let (mut own, mut others) = (config::Endpoint::default(), Vec::new());
    for (name, settings) in asked {
        if is_own_mode(name) {
            return Err(ApiError::bad_request(format!(
                "conflicting options: network {name} and the network mode {mode}"
            )));
        }
        let place = if name == "default" { Place::find(engine, mode)? } else { Place::find(engine, name)? };
        if place.id_and_name(engine).0 == id {
            own = settings.clone();
        } else {
            others.push(place.endpoint(engine, settings)?);
        }
    }
    let mut endpoints = vec![first.endpoint(engine, &own)?];
    endpoints.extend(others);
    if endpoints.len() > MOST_NETWORKS {
        return Err(ApiError::bad_request(format!("a container is in {MOST_NETWORKS} networks at most")));
    }
    Ok(endpoints)
}

/// Whether a container with this network mode is in no network that can be joined or left.
pub fn is_own_mode(mode: &str) -> bool {
    matches!(mode, "none" | "host") || mode.starts_with("container:")
}

/// A container's link to a network, but for the addresses.
pub struct Attachment {
    network: String,
    link: Link,
    mac: Option<String>,
    prefix: u8,
    gateway: Option<Ipv4Addr>,
    ipv6: Option<(u8, Option<Ipv6Addr>)>,
    mtu: u32,
    /// Whether it leads out.
    leads_out: bool,
    /// What it wants of the store.
    pub wanted: WantedAddress,
}

impl Attachment {
    /// For a container's endpoint. `number` is that of its interface, `before` where it was last.
    pub fn new(
        engine: &Engine,
        id: &ContainerId,
        endpoint: &Endpoint,
        number: usize,
        before: &[Joined],
    ) -> ApiResult<Self> {
        let before = before.iter().find(|joined| joined.network == endpoint.network);
        let preferred = before.map(|joined| joined.interface.config.address);
        let host_interface = host_interface(engine, id, number);
        if endpoint.network == engine.network.id {
            let bridge = engine.network.require().map_err(ApiError::unavailable)?.clone();
            let pool = bridge.pool(&endpoint.network);
            return Ok(Self {
                network: endpoint.network.clone(),
                link: Link::Bridge { bridge: bridge.name, host_interface, isolated: false },
                mac: endpoint.mac.clone(),
                prefix: bridge.prefix,
                gateway: Some(bridge.gateway),
                ipv6: None,
                mtu: bridge.mtu,
                leads_out: true,
                wanted: WantedAddress { pool, preferred, fixed: None, pool6: None, fixed6: None },
            });
        }
        let network = engine.networks.find(&endpoint.network)?;
        if !network.problem.is_empty() {
            return Err(ApiError::unavailable(format!("network {}: {}", network.name, network.problem)));
        }
        let spec = &network.spec;
        let pool6 = spec.ipv6.as_ref().map(|subnet| AddressPool6 {
            network: subnet.subnet().network(),
            last: subnet.subnet().last(),
            excluded: vec![subnet.gateway],
        });
        Ok(Self {
            network: network.id.clone(),
            link: match &spec.driver {
                Driver::Bridge => {
                    Link::Bridge { bridge: spec.bridge.clone(), host_interface, isolated: !spec.icc }
                }
                Driver::Macvlan { parent, mode } => Link::Macvlan { parent: parent.clone(), mode: *mode },
            },
            mac: endpoint.mac.clone(),
            prefix: spec.prefix,
            gateway: Some(spec.gateway),
            ipv6: spec.ipv6.as_ref().map(|subnet| (subnet.prefix, Some(subnet.gateway))),
            mtu: spec.mtu,
            leads_out: !spec.internal,
            wanted: WantedAddress {
                pool: spec.pool(&network.id)?,
                preferred,
                fixed: endpoint.address,
                pool6,
                fixed6: endpoint.address6,
            },
        })
    }

    /// With its addresses.
    pub fn joined(&self, number: usize, address: Address) -> Joined {
        Joined {
            network: self.network.clone(),
            leads_out: self.leads_out,
            interface: Interface {
                link: self.link.clone(),
                config: InterfaceConfig {
                    name: format!("eth{number}"),
                    mac: self.mac.clone().unwrap_or_else(|| cofferdam_net::mac_for(address.v4)),
                    address: address.v4,
                    prefix: self.prefix,
                    gateway: self.gateway,
                    ipv6: address.v6.zip(self.ipv6).map(|(address, (prefix, gateway))| Ipv6Config {
                        address,
                        prefix,
                        gateway,
                    }),
                    mtu: self.mtu,
                    is_default: false,
                },
            },
        }
    }
}

/// Everything that a container needs to be in its networks.
pub fn attachments(
    engine: &Engine,
    id: &ContainerId,
    record: &Record,
    before: &[Joined],
) -> ApiResult<Vec<Attachment>> {
    if record.config.network_disabled {
        return Ok(Vec::new());
    }
    let endpoints = record.endpoints.iter().enumerate();
    endpoints.map(|(number, endpoint)| Attachment::new(engine, id, endpoint, number, before)).collect()
}

/// Decides where what has no better way goes: by the first network that leads out, else by the first.
pub fn choose_default(joined: &mut [Joined]) {
    let chosen = joined.iter().position(|one| one.leads_out).unwrap_or(0);
    for (number, one) in joined.iter_mut().enumerate() {
        one.interface.config.is_default = number == chosen;
    }
}

/// The lowest number of an interface that a container does not have.
pub fn free_number(joined: &[Joined]) -> usize {
    let taken = |number: &usize| {
        let name = format!("eth{number}");
        joined.iter().any(|one| one.interface.config.name == name)
    };
    (0..=joined.len()).find(|number| !taken(number)).unwrap_or(joined.len())
}

/// The host end of a veth pair: the instance's name, and of the container's ID and the interface's number as much as 15
/// bytes hold.
fn host_interface(engine: &Engine, id: &ContainerId, number: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut name = format!("{}-", engine.instance);
    let mut rest = u64::from_str_radix(&id.as_str()[..16], 16).unwrap_or_default();
    // Far apart for each number.
    rest = rest.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64));
    while name.len() < 15 {
        let digit = usize::try_from(rest % 36).unwrap_or_default();
        name.push(char::from(DIGITS[digit]));
        rest /= 36;
    }
    name
}

/// A MAC address as text, in lower case.
pub fn check_mac(text: &str) -> ApiResult<String> {
    let bytes: Vec<_> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    let good = bytes.len() == 6 && text.len() == 17 && bytes.iter().all(Result::is_ok);
    // The lowest bit of the first byte makes an address a group's.
    let single = bytes.first().is_some_and(|byte| byte.as_ref().is_ok_and(|byte| byte & 1 == 0));
    if good && single {
        return Ok(text.to_ascii_lowercase());
    }
    Err(ApiError::bad_request(format!("{text} is not a valid mac address")))
}

/// Docker's words for a macvlan mode.
pub fn macvlan_mode(text: &str) -> Option<MacvlanMode> {
    Some(match text {
        "" | "bridge" => MacvlanMode::Bridge,
        "private" => MacvlanMode::Private,
        "vepa" => MacvlanMode::Vepa,
        "passthru" => MacvlanMode::Passthru,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(number: usize, leads_out: bool) -> Joined {
        let address = Ipv4Addr::new(10, 0, 0, 2);
        Joined {
            network: "n".to_owned(),
            leads_out,
            interface: Interface {
                link: Link::Macvlan { parent: "p".to_owned(), mode: MacvlanMode::Bridge },
                config: InterfaceConfig {
                    name: format!("eth{number}"),
                    mac: cofferdam_net::mac_for(address),
                    address,
                    prefix: 24,
                    gateway: None,
                    ipv6: None,
                    mtu: 1500,
                    is_default: false,
                },
            },
        }
    }

    #[test]
    fn the_way_out_is_the_first_that_leads_there() {
        let chosen = |ways: &[bool]| {
            let mut all: Vec<_> = ways.iter().enumerate().map(|(n, out)| joined(n, *out)).collect();
            choose_default(&mut all);
            all.iter().position(|one| one.interface.config.is_default)
        };
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&[true, true]), Some(0));
        assert_eq!(chosen(&[false, true]), Some(1));
        assert_eq!(chosen(&[false, false]), Some(0));
    }

    #[test]
    fn mac_addresses() {
        assert_eq!(check_mac("02:42:AC:11:00:02").unwrap(), "02:42:ac:11:00:02");
        for bad in ["", "02:42:ac:11:00", "zz:42:ac:11:00:02", "01:00:5e:00:00:01"] {
            assert!(check_mac(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_lowest_free_number() {
        assert_eq!(free_number(&[]), 0);
        assert_eq!(free_number(&[joined(0, true), joined(2, true)]), 1);
        assert_eq!(free_number(&[joined(1, true)]), 0);
        assert_eq!(free_number(&[joined(0, true), joined(1, true)]), 2);
    }
}
