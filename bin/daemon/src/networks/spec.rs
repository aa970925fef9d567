//! What a network is: a request checked, and as it is recorded.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use cofferdam_model::MacvlanMode;
use cofferdam_net::{BridgeConfig, Policy, Subnet, Subnet6};
use cofferdam_store::AddressPool;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{ApiError, ApiResult};

const ICC: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const MTU: &str = "com.docker.network.driver.mtu";
const PARENT: &str = "parent";
const MACVLAN_MODE: &str = "macvlan_mode";

/// IPv4 asks for it (RFC 791); Ethernet cards have no more than the latter.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65535;
const DEFAULT_MTU: u32 = 1500;

/// The body of `POST /networks/create`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Request {
    /// Its name.
    pub name: String,
    driver: String,
    scope: String,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_only: bool,
    config_from: Map<String, Value>,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipam {
    driver: String,
    config: Vec<Range>,
    options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Range {
    subnet: String,
    #[serde(rename = "IPRange")]
    ip_range: String,
    gateway: String,
    auxiliary_addresses: BTreeMap<String, String>,
}

impl Range {
    fn is_ipv6(&self) -> bool {
        self.subnet.contains(':') || self.gateway.contains(':') || self.ip_range.contains(':')
    }
}

/// A network as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// What carries it.
    pub driver: Driver,
    /// The bridge on the host, if it has one.
    pub bridge: String,
    /// The nftables table of its rules.
    pub nft_table: String,
    /// The containers' gateway: the bridge's address, where their resolver is, too; else somebody's outside.
    pub gateway: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// Whether the subnet was asked for: only then may containers ask for addresses.
    pub chosen: bool,
    /// What containers are given addresses from, `172.30.4.0/24`; empty for the whole subnet.
    pub range: String,
    /// Addresses that are others', by a name.
    pub auxiliary: BTreeMap<String, Ipv4Addr>,
    /// Its IPv6.
    pub ipv6: Option<Ipv6>,
    /// Everything's MTU.
    pub mtu: u32,
    /// Whether nothing goes in or out.
    pub internal: bool,
    /// Whether containers reach each other.
    pub icc: bool,
    /// Whether containers go out with the host's address.
    pub masquerade: bool,
    /// Docker's flag for swarm services, which only `inspect` shows.
    pub attachable: bool,
    /// As given.
    pub options: BTreeMap<String, String>,
    /// As given.
    pub labels: BTreeMap<String, String>,
}

/// What carries a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of its own, with NAT.
    #[default]
    Bridge,
    /// An interface of the host, whose network it is part of.
    Macvlan {
        /// That interface.
        parent: String,
        /// What passes between its containers.
        mode: MacvlanMode,
    },
}

impl Driver {
    /// Docker's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan { .. } => "macvlan",
        }
    }
}

/// A network's IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6 {
    /// The gateway.
    pub gateway: Ipv6Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// Whether the subnet was asked for.
    pub chosen: bool,
}

impl Ipv6 {
    /// `fd00:1:2:3::/64`
    pub fn subnet(&self) -> Subnet6 {
        Subnet6::new(self.gateway, self.prefix)
    }

    /// Whether a container may have this address.
    pub fn allows(&self, address: Ipv6Addr) -> bool {
        self.subnet().contains(address) && address != self.gateway && address != self.subnet().network()
    }
}

impl Spec {
    /// Checks a request. `free` gives a subnet when none was asked for.
    pub fn check(request: Request, free: impl FnOnce() -> ApiResult<Subnet>) -> ApiResult<Self> {
        let wrong = |text: String| Err(ApiError::bad_request(text));
        check_name(&request.name)?;
        check_kind(&request)?;
        let flag = |key: &str, default: bool| match request.options.get(key).map(String::as_str) {
            None | Some("") => Ok(default),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some(other) => Err(ApiError::bad_request(format!("invalid value {other:?} for option {key}"))),
        };
        let driver = driver(&request)?;
        let known: &[&str] = match driver {
            Driver::Bridge => &[ICC, MASQUERADE, MTU],
            Driver::Macvlan { .. } => &[PARENT, MACVLAN_MODE, MTU],
        };
        if let Some(key) = request.options.keys().find(|key| !known.contains(&key.as_str())) {
            return wrong(format!("option {key} is not supported: want one of {}", known.join(", ")));
        }
        let mtu = match request.options.get(MTU).map(String::as_str) {
            None | Some("" | "0") => DEFAULT_MTU,
            Some(text) => match text.parse().ok().filter(|mtu| MTU_RANGE.contains(mtu)) {
                Some(mtu) => mtu,
                None => return wrong(format!("invalid MTU {text:?}: want a number from 68 to 65535")),
            },
        };
        let (icc, masquerade) = (flag(ICC, true)?, flag(MASQUERADE, true)?);
        let (of_ipv6, of_ipv4): (Vec<_>, Vec<_>) =
            request.ipam.config.iter().partition(|range| range.is_ipv6());
        let range = match of_ipv4.as_slice() {
            [] => Range::default(),
            [range] => (*range).clone(),
            _ => return wrong("a network has one IPv4 subnet here".to_owned()),
        };
        let ipv6 = match of_ipv6.as_slice() {
            [] => request.enable_ipv6.then(|| ipv6(None)).transpose()?,
            [_] if !request.enable_ipv6 => {
                return wrong("an IPv6 subnet needs a network with IPv6: add --ipv6".to_owned());
            }
            [range] => Some(ipv6(Some(range))?),
            _ => return wrong("a network has one IPv6 subnet here".to_owned()),
        };
        let chosen = !range.subnet.is_empty();
        let parts =
            !range.gateway.is_empty() || !range.ip_range.is_empty() || !range.auxiliary_addresses.is_empty();
        if parts && !chosen {
            return wrong(
                "invalid network config:\ninvalid subnet : an IPAM config needs a subnet".to_owned(),
            );
        }
        let subnet = if chosen { parse_subnet(&range.subnet)? } else { free()? };
        let inside = |text: &str, what: &str| -> ApiResult<Ipv4Addr> {
            let address = text.parse().map_err(|_unreadable| {
                ApiError::bad_request(format!("invalid network config:\ninvalid {what} address {text:?}"))
            })?;
            if !subnet.contains(address) || address == subnet.network() || address == subnet.broadcast() {
                return Err(ApiError::bad_request(format!(
                    "invalid network config:\ninvalid {what} {address}: parent subnet {subnet} doesn't contain this \
                     address"
                )));
            }
            Ok(address)
        };
        let gateway =
            if range.gateway.is_empty() { subnet.gateway() } else { inside(&range.gateway, "gateway")? };
        let mut auxiliary = BTreeMap::new();
        for (name, address) in &range.auxiliary_addresses {
            auxiliary.insert(name.clone(), inside(address, "auxiliary address")?);
        }
        if let Some(part) = (!range.ip_range.is_empty()).then(|| parse_range(&range.ip_range)) {
            let (network, prefix) = part?;
            if prefix < subnet.prefix() || !subnet.contains(network) {
                return wrong(format!(
                    "invalid network config:\ninvalid ip-range {}: parent subnet {subnet} doesn't contain ip-range",
                    range.ip_range
                ));
            }
        }
        Ok(Self {
            driver,
            bridge: String::new(),
            nft_table: String::new(),
            gateway,
            prefix: subnet.prefix(),
            chosen,
            range: range.ip_range,
            auxiliary,
            ipv6,
            mtu,
            internal: request.internal,
            icc,
            masquerade,
            attachable: request.attachable,
            options: request.options,
            labels: request.labels,
        })
    }

    /// `172.30.0.0/16`
    pub fn subnet(&self) -> ApiResult<Subnet> {
        Subnet::new(self.gateway, self.prefix).map_err(|error| ApiError::internal(error.to_string()))
    }

    /// The addresses for containers.
    pub fn pool(&self, id: &str) -> ApiResult<AddressPool> {
        let subnet = self.subnet()?;
        let ends = |network: Ipv4Addr, prefix: u8| {
            let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            (u32::from(network) & !hosts, u32::from(network) | hosts)
        };
        let whole = ends(subnet.network(), subnet.prefix());
        let (first, last) = match self.range.as_str() {
            "" => whole,
            range => parse_range(range).map(|(network, prefix)| ends(network, prefix))?,
        };
        // The subnet's own address and the broadcast address are nobody's.
        let (first, last) = (first.max(whole.0 + 1), last.min(whole.1 - 1));
        let mut excluded: Vec<_> = self.auxiliary.values().copied().collect();
        excluded.push(self.gateway);
        Ok(AddressPool {
            network: id.to_owned(),
            on_record: true,
            first: first.into(),
            last: last.into(),
            excluded,
        })
    }

    /// Whether a container may have this address.
    pub fn allows(&self, address: Ipv4Addr) -> bool {
        self.subnet().is_ok_and(|subnet| {
            subnet.contains(address) && address != subnet.network() && address != subnet.broadcast()
        }) && address != self.gateway
            && !self.auxiliary.values().any(|other| *other == address)
    }

    /// What it is on the host.
    pub fn on_host(&self) -> (BridgeConfig, Policy) {
        let bridge = BridgeConfig {
            name: self.bridge.clone(),
            gateway: self.gateway,
            prefix: self.prefix,
            ipv6: self.ipv6.as_ref().map(|ipv6| (ipv6.gateway, ipv6.prefix)),
            mtu: self.mtu,
            nft_table: self.nft_table.clone(),
            published: Vec::new(),
        };
        let policy =
            Policy { internal: self.internal, between_containers: self.icc, masquerade: self.masquerade };
        (bridge, policy)
    }
}

/// Any text that a path of the API, a table and a log can carry; blanks may be inside.
fn check_name(name: &str) -> ApiResult<()> {
    let plain = |letter: char| !letter.is_control() && !"/:\\\"%?#".contains(letter);
    let good = !name.is_empty() && name.len() <= 255 && name.trim() == name && name.chars().all(plain);
    if good && name.starts_with(char::is_alphanumeric) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "invalid network name {name:?}: want letters, digits, blanks and punctuation but / : \\ \" % ? #, beginning \
         with a letter or digit"
    )))
}

fn check_kind(request: &Request) -> ApiResult<()> {
    let wrong = |text: &str| Err(ApiError::bad_request(text));
    if ["bridge", "host", "none", "default"].contains(&request.name.as_str())
        || request.name.starts_with("container:")
    {
        return Err(ApiError::forbidden(format!(
            "operation is not permitted on predefined {} network",
            request.name
        )));
    }
    match request.driver.as_str() {
        "" | "default" | "bridge" | "macvlan" => {}
        only @ ("host" | "null") => {
            return Err(ApiError::forbidden(format!("only one instance of \"{only}\" network is allowed")));
        }
        "ipvlan" => return wrong("the network driver ipvlan is not supported: use macvlan"),
        "overlay" => return wrong("This node is not a swarm manager: there is no overlay network here"),
        other => {
            return Err(ApiError::not_found(format!(
                "could not find plugin {other} in v1 plugin registry: plugin not found"
            )));
        }
    }
    if request.enable_ipv4 == Some(false) {
        return wrong("a network without IPv4 is not supported: leave out --ipv4=false");
    }
    if request.ingress || request.scope == "swarm" {
        return wrong("This node is not a swarm manager: networks are local");
    }
    if request.config_only || request.config_from.get("Network").is_some_and(|name| name != "") {
        return wrong("configuration-only networks are not supported");
    }
    if !matches!(request.ipam.driver.as_str(), "" | "default") {
        return Err(ApiError::not_found(format!(
            "could not find plugin {} in v1 plugin registry: plugin not found",
            request.ipam.driver
        )));
    }
    if !request.ipam.options.is_empty() {
        return wrong("IPAM options are not supported");
    }
    Ok(())
}

/// The driver with its options.
fn driver(request: &Request) -> ApiResult<Driver> {
    if request.driver != "macvlan" {
        return Ok(Driver::Bridge);
    }
    let option = |key: &str| request.options.get(key).map(String::as_str).unwrap_or_default();
    let parent = option(PARENT);
    let good = !parent.is_empty() && parent.len() <= 15 && parent != "lo";
    if !good || parent.contains(['/', '\0']) || parent.contains(char::is_whitespace) {
        return Err(ApiError::bad_request(format!(
            "a macvlan network needs an interface of the host: -o parent=NAME, not {parent:?}"
        )));
    }
    let mode = option(MACVLAN_MODE);
    let mode = super::endpoint::macvlan_mode(mode)
        .ok_or_else(|| ApiError::bad_request(format!("unknown macvlan mode: {mode}")))?;
    if request.internal {
        return Err(ApiError::bad_request(
            "a macvlan network is the outside's: it cannot be internal; use the driver bridge",
        ));
    }
    if !request.ipam.config.iter().any(|range| !range.is_ipv6() && !range.subnet.is_empty()) {
        return Err(ApiError::bad_request(
            "a macvlan network needs the outside's subnet, and its gateway: --subnet 192.0.2.0/24 --gateway 192.0.2.1",
        ));
    }
    Ok(Driver::Macvlan { parent: parent.to_owned(), mode })
}

/// A network's IPv6: as asked for, else a unique local subnet by chance.
fn ipv6(range: Option<&Range>) -> ApiResult<Ipv6> {
    let wrong = |text: String| ApiError::bad_request(format!("invalid network config:\n{text}"));
    let Some(range) = range else {
        let mut random = [0; 5];
        hex::decode_to_slice(cofferdam_model::random_hex(5), &mut random)
            .map_err(|error| ApiError::internal(error.to_string()))?;
        let subnet = Subnet6::unique_local(random);
        return Ok(Ipv6 { gateway: subnet.gateway(), prefix: subnet.prefix(), chosen: false });
    };
    let subnet: Subnet6 =
        range.subnet.parse().map_err(|error| wrong(format!("invalid subnet {}: {error}", range.subnet)))?;
    if !range.ip_range.is_empty() || !range.auxiliary_addresses.is_empty() {
        return Err(wrong("an IPv6 subnet has no ip-range and no auxiliary addresses here".to_owned()));
    }
    let gateway = match range.gateway.as_str() {
        "" => subnet.gateway(),
        text => text.parse().ok().filter(|gateway| subnet.contains(*gateway)).ok_or_else(|| {
            wrong(format!("invalid gateway {text}: parent subnet {subnet} doesn't contain it"))
        })?,
    };
    Ok(Ipv6 { gateway, prefix: subnet.prefix(), chosen: true })
}

fn parse_subnet(text: &str) -> ApiResult<Subnet> {
    let subnet: Subnet = text.parse().map_err(|error| {
        ApiError::bad_request(format!("invalid network config:\ninvalid subnet {text}: {error}"))
    })?;
    if subnet.to_string() != text {
        return Err(ApiError::bad_request(format!(
            "invalid network config:\ninvalid subnet {text}: it should be {subnet}"
        )));
    }
    Ok(subnet)
}

/// Part of a subnet, down to one address.
fn parse_range(text: &str) -> ApiResult<(Ipv4Addr, u8)> {
    let parts = text.split_once('/').and_then(|(network, prefix)| {
        Some((network.parse().ok()?, prefix.parse().ok().filter(|prefix| *prefix <= 32)?))
    });
    parts.ok_or_else(|| ApiError::bad_request(format!("invalid network config:\ninvalid ip-range {text}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(request: Value) -> Result<Spec, String> {
        let mut whole = json!({ "Name": "net" });
        for (key, value) in request.as_object().unwrap() {
            whole[key] = value.clone();
        }
        Spec::check(serde_json::from_value(whole).unwrap(), || Ok("172.28.0.0/16".parse().unwrap()))
            .map_err(|error| error.message)
    }

    fn ipam(config: Value) -> Value {
        json!({ "IPAM": { "Config": [config] } })
    }

    #[test]
    fn what_is_not_said_is_chosen() {
        let spec = checked(json!({ "Name": "Virtual Switch", "Labels": { "a": "b" } })).unwrap();
        assert_eq!((spec.gateway, spec.prefix, spec.chosen), ([172, 28, 0, 1].into(), 16, false));
        assert_eq!((spec.mtu, spec.icc, spec.internal), (1500, true, false));
        let pool = spec.pool("id").unwrap();
        assert_eq!((pool.first, pool.last), ([172, 28, 0, 1].into(), [172, 28, 255, 254].into()));
        assert_eq!(pool.excluded, [Ipv4Addr::new(172, 28, 0, 1)]);
    }

    #[test]
    fn a_range_is_part_of_the_subnet() {
        let spec = checked(ipam(json!({
            "Subnet": "10.5.0.0/24", "IPRange": "10.5.0.128/25", "Gateway": "10.5.0.254",
            "AuxiliaryAddresses": { "router": "10.5.0.130" },
        })))
        .unwrap();
        let pool = spec.pool("id").unwrap();
        assert_eq!((pool.first, pool.last), ([10, 5, 0, 128].into(), [10, 5, 0, 254].into()));
        assert_eq!(pool.excluded, [Ipv4Addr::new(10, 5, 0, 130), Ipv4Addr::new(10, 5, 0, 254)]);
        assert!(spec.allows([10, 5, 0, 7].into()));
        for bad in [[10, 5, 0, 0], [10, 5, 0, 255], [10, 5, 0, 254], [10, 5, 0, 130], [10, 6, 0, 1]] {
            assert!(!spec.allows(bad.into()), "{bad:?}");
        }
    }

    #[test]
    fn other_drivers_and_families() {
        let spec = checked(json!({
            "Driver": "macvlan", "Options": { "parent": "eth0", "macvlan_mode": "private" },
            "IPAM": { "Config": [{ "Subnet": "192.0.2.0/24", "Gateway": "192.0.2.254" }] },
        }))
        .unwrap();
        assert_eq!(spec.driver, Driver::Macvlan { parent: "eth0".to_owned(), mode: MacvlanMode::Private });
        let spec = checked(json!({ "EnableIPv6": true })).unwrap();
        let ipv6 = spec.ipv6.unwrap();
        assert!(!ipv6.chosen && ipv6.subnet().to_string().starts_with("fd") && ipv6.prefix == 64);
        let spec = checked(json!({
            "EnableIPv6": true, "IPAM": { "Config": [{ "Subnet": "fd00:7::/64" }, { "Subnet": "10.5.0.0/24" }] },
        }))
        .unwrap();
        let ipv6 = spec.ipv6.unwrap();
        assert_eq!((ipv6.gateway.to_string().as_str(), spec.gateway), ("fd00:7::1", [10, 5, 0, 1].into()));
        assert!(ipv6.allows("fd00:7::9".parse().unwrap()) && !ipv6.allows(ipv6.gateway));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (request, words) in [
            (json!({ "Name": "" }), "invalid network name"),
            (json!({ "Name": " a" }), "invalid network name"),
            (json!({ "Name": "a/b" }), "invalid network name"),
            (json!({ "Name": "host" }), "predefined host network"),
            (json!({ "Driver": "weave" }), "could not find plugin weave"),
            (json!({ "Driver": "macvlan" }), "-o parent=NAME"),
            (json!({ "Driver": "macvlan", "Options": { "parent": "a/b" } }), "-o parent=NAME"),
            (json!({ "Driver": "macvlan", "Options": { "parent": "eth0" } }), "needs the outside's subnet"),
            (
                json!({ "Driver": "macvlan", "Options": { "parent": "eth0", "macvlan_mode": "x" } }),
                "macvlan mode: x",
            ),
            (ipam(json!({ "Subnet": "fd00::/64" })), "add --ipv6"),
            (
                json!({ "EnableIPv6": true, "IPAM": { "Config": [{ "Subnet": "fd00::/127" }] } }),
                "invalid subnet",
            ),
            (
                json!({ "EnableIPv6": true, "IPAM": { "Config": [{ "Subnet": "fd00::/64", "Gateway": "fd01::1" }] } }),
                "invalid gateway",
            ),
            (json!({ "Options": { "x": "y" } }), "option x is not supported"),
            (json!({ "Options": { MTU: "5" } }), "invalid MTU"),
            (json!({ "Options": { ICC: "maybe" } }), "invalid value"),
            (ipam(json!({ "Gateway": "10.5.0.1" })), "needs a subnet"),
            (ipam(json!({ "Subnet": "10.5.0.1/24" })), "it should be 10.5.0.0/24"),
            (ipam(json!({ "Subnet": "10.5.0.0/24", "Gateway": "10.6.0.1" })), "doesn't contain"),
            (ipam(json!({ "Subnet": "10.5.0.0/24", "IPRange": "10.5.0.0/16" })), "ip-range"),
        ] {
            let error = checked(request.clone()).unwrap_err();
            assert!(error.contains(words), "{request}: {error}");
        }
    }
}
