//! A container's place in a user's network: as asked for, and as it gets it.

use std::net::Ipv4Addr;

use cofferdam_store::AddressPool;
use serde::{Deserialize, Serialize};

use crate::containers::config::{HostConfig, NetworkingConfig};
use crate::containers::record::Record;
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};
use crate::network::{self, Bridge};

/// What a container has asked of a network of a user's. It is in the container's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserEndpoint {
    /// The network's ID.
    pub network: String,
    /// Its name.
    pub name: String,
    /// Further names for the container.
    pub aliases: Vec<String>,
    /// The address that it must have.
    pub address: Option<Ipv4Addr>,
}

/// Where a container is attached when it starts.
#[derive(Debug)]
pub struct Attachment {
    /// The bridge.
    pub bridge: Bridge,
    /// Where its address is from.
    pub pool: AddressPool,
    /// The address that it must have.
    pub fixed: Option<Ipv4Addr>,
    /// Whether it is kept from the other containers.
    pub isolated: bool,
}

/// Finds the network that a request names. `None` when it is one of the engine's own.
///
/// A name that is nobody's is 400, not 404: clients read the latter as a missing image when they create a container,
/// and pull it.
pub fn resolve(
    engine: &Engine,
    host: &HostConfig,
    networking: &NetworkingConfig,
) -> ApiResult<Option<UserEndpoint>> {
    let mode = host.network_mode.as_str();
    let missing = |name: &str| ApiError::bad_request(format!("network {name} not found"));
    let own = ["bridge", "none", "host"];
    let network = match own.contains(&mode) {
        true => None,
        false => Some(engine.networks.find(mode).map_err(|_absent| missing(mode))?),
    };
    let mut endpoint = network.as_ref().map(|network| UserEndpoint {
        network: network.id.clone(),
        name: network.name.clone(),
        ..UserEndpoint::default()
    });
    for (name, asked) in &networking.endpoints_config {
        let same = match &network {
            _ if name == "default" => true,
            None => name == mode,
            Some(network) => {
                !own.contains(&name.as_str())
                    && engine.networks.find(name).map_err(|_absent| missing(name))?.id == network.id
            }
        };
        if !same {
            if !own.contains(&name.as_str()) {
                engine.networks.find(name).map_err(|_absent| missing(name))?;
            }
            return Err(ApiError::not_implemented("a container in several networks", "the networks issue"));
        }
        let pinned = |key: &str| {
            asked.ipam_config.get(key).and_then(|value| value.as_str()).filter(|value| !value.is_empty())
        };
        if !asked.links.is_empty() {
            return Err(ApiError::not_implemented("--link", "the networks issue"));
        }
        let (Some(network), Some(endpoint)) = (&network, &mut endpoint) else {
            if pinned("IPv4Address").is_some() || pinned("IPv6Address").is_some() {
                return Err(ApiError::bad_request(
                    "user specified IP address is supported on user defined networks only",
                ));
            }
            if !asked.aliases.is_empty() {
                return Err(ApiError::bad_request(
                    "network-scoped alias is supported only for containers in user defined networks",
                ));
            }
            continue;
        };
        if pinned("IPv6Address").is_some() {
            return Err(ApiError::not_implemented("IPv6 in networks", "the networks issue"));
        }
        if let Some(text) = pinned("IPv4Address") {
            let address = text
                .parse()
                .map_err(|_unreadable| ApiError::bad_request(format!("invalid IPv4 address: {text}")))?;
            if !network.spec.chosen {
                return Err(ApiError::bad_request(
                    "invalid endpoint settings:\nuser specified IP address is supported only when connecting to \
                     networks with user configured subnets",
                ));
            }
            if !network.spec.allows(address) {
                return Err(ApiError::bad_request(format!(
                    "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address {address}"
                )));
            }
            endpoint.address = Some(address);
        }
        let name = |text: &String| {
            !text.is_empty() && text.len() <= 253 && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Some(bad) = asked.aliases.iter().find(|alias| !name(alias)) {
            return Err(ApiError::bad_request(format!("invalid network-scoped alias: {bad:?}")));
        }
        endpoint.aliases.clone_from(&asked.aliases);
    }
    Ok(endpoint)
}

/// Where a container is attached; `None` when it has no bridge.
pub fn attachment(engine: &Engine, record: &Record) -> ApiResult<Option<Attachment>> {
    if record.config.network_disabled {
        return Ok(None);
    }
    let Some(endpoint) = &record.endpoint else {
        if record.network() != network::NAME {
            return Ok(None);
        }
        let bridge = engine.network.require().map_err(ApiError::unavailable)?.clone();
        let pool = bridge.pool();
        return Ok(Some(Attachment { bridge, pool, fixed: None, isolated: false }));
    };
    let network = engine.networks.find(&endpoint.network)?;
    if !network.problem.is_empty() {
        return Err(ApiError::unavailable(format!("network {}: {}", network.name, network.problem)));
    }
    let spec = &network.spec;
    Ok(Some(Attachment {
        bridge: Bridge {
            name: spec.bridge.clone(),
            gateway: spec.gateway,
            prefix: spec.prefix,
            mtu: spec.mtu,
            nft_table: spec.nft_table.clone(),
        },
        pool: spec.pool(&network.id)?,
        fixed: endpoint.address,
        isolated: !spec.icc,
    }))
}
