//! The default network: a NAT bridge named after the instance, on a subnet that is chosen once and remembered.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;

use cofferdam_net::{BridgeConfig, Published};
use cofferdam_store::{AddressPool, Store};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::error::chain;

/// The name of the default network, as Docker's.
pub const NAME: &str = "bridge";

/// The record of the subnet, `172.30.0.1/16`.
const SUBNET: &str = "bridge-subnet";

/// Held while a subnet is chosen and taken, so that daemons that start together choose different ones.
pub const LOCK: &str = "/run/cofferdam-network.lock";

/// Ethernet's.
const MTU: u32 = 1500;

/// The default network.
#[derive(Clone, Debug)]
pub struct DefaultNetwork {
    /// The network's ID, the same at every start.
    pub id: String,
    /// The bridge; `None` when it was switched off or could not be made.
    pub bridge: Option<Bridge>,
    /// Why it is missing or not complete; empty when it is.
    pub warning: String,
}

/// The bridge and its subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The interface on the host.
    pub name: String,
    /// Its address: the containers' gateway.
    pub gateway: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix: u8,
    /// Everything's MTU.
    pub mtu: u32,
    /// The nftables table of its rules.
    pub nft_table: String,
}

impl Bridge {
    /// `172.30.0.0/16`
    pub fn subnet(&self) -> String {
        format!("{}/{}", Ipv4Addr::from(u32::from(self.gateway) & self.mask()), self.prefix)
    }

    /// The addresses that containers may have in the network of this ID: all but the subnet's own, the gateway below them
    /// and the broadcast.
    pub fn pool(&self, id: &str) -> AddressPool {
        let network = u32::from(self.gateway) & self.mask();
        let last = (network | !self.mask()) - 1;
        let first = u32::from(self.gateway) + 1;
        // A gateway at the subnet's end leaves what is below it.
        let (first, last) =
            if first <= last { (first, last) } else { (network + 1, u32::from(self.gateway) - 1) };
        AddressPool {
            network: id.to_owned(),
            on_record: false,
            first: first.into(),
            last: last.into(),
            excluded: Vec::new(),
        }
    }

    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl DefaultNetwork {
    /// Makes the bridge, or finds it again, with the ports that running containers have published. Never fails:
    /// containers without a network work without it.
    pub fn set_up(config: &Config, store: &Store, published: Vec<Published>) -> Self {
        let id = hex::encode(Sha256::digest(format!("cofferdam network {NAME} of {}", config.instance)));
        let Some(name) = config.bridge_name() else {
            return Self {
                id,
                bridge: None,
                warning: "the default network is switched off (--bridge none)".into(),
            };
        };
        let _lock = File::create(LOCK).and_then(|file| file.lock().map(|()| file));
        let (gateway, prefix) = match subnet(config, store, &name) {
            Ok(subnet) => subnet,
            Err(warning) => return Self { id, bridge: None, warning },
        };
        let bridge = Bridge { name, gateway, prefix, mtu: MTU, nft_table: config.instance.nft_table() };
        let wanted = BridgeConfig {
            name: bridge.name.clone(),
            gateway,
            prefix,
            ipv6: None,
            mtu: MTU,
            nft_table: bridge.nft_table.clone(),
            published,
        };
        match cofferdam_net::ensure_bridge(&wanted) {
            Ok(()) => Self { id, bridge: Some(bridge), warning: String::new() },
            Err(error) => {
                let hint = error.hint().map(|hint| format!(": {hint}")).unwrap_or_default();
                let warning = format!("default network: {}{hint}", chain(&error));
                // Without NAT the bridge still joins containers with each other and with the host.
                let bridge = error.bridge_is_up().then_some(bridge);
                Self { id, bridge, warning }
            }
        }
    }

    /// The bridge, or why there is none, for an error message.
    pub fn require(&self) -> Result<&Bridge, String> {
        self.bridge.as_ref().ok_or_else(|| self.warning.clone())
    }

    /// Removes what was made on the host, when no container uses it any more.
    pub fn tear_down(&self) {
        if let Some(bridge) = &self.bridge
            && let Err(error) = cofferdam_net::remove_bridge(&bridge.name, &bridge.nft_table)
        {
            tracing::warn!("cannot remove the bridge {}: {}", bridge.name, chain(&error));
        }
    }
}

/// The configured subnet, else the remembered one (unless somebody took it while our bridge was gone, when no
/// container can have been running), else a free one.
fn subnet(config: &Config, store: &Store, bridge: &str) -> Result<(Ipv4Addr, u8), String> {
    if let Some(bip) = config.bip {
        return Ok(bip);
    }
    let remembered = store.setting(SUBNET).map_err(|error| chain(&error))?;
    if let Some((gateway, prefix)) = remembered.as_deref().and_then(parse)
        && (Path::new("/sys/class/net").join(bridge).exists()
            || cofferdam_net::is_free(gateway, prefix).map_err(|error| chain(&error))?)
    {
        return Ok((gateway, prefix));
    }
    let (gateway, prefix) = cofferdam_net::free_subnet().map_err(|error| chain(&error))?;
    store.set_setting(SUBNET, &format!("{gateway}/{prefix}")).map_err(|error| chain(&error))?;
    Ok((gateway, prefix))
}

fn parse(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok().filter(|prefix| (1..=30).contains(prefix))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(gateway: &str, prefix: u8) -> Bridge {
        let gateway = gateway.parse().unwrap();
        Bridge { name: "b".into(), gateway, prefix, mtu: MTU, nft_table: "t".into() }
    }

    #[test]
    fn containers_get_everything_but_the_ends_and_the_gateway() {
        let pool = bridge("172.30.0.1", 16).pool("n1");
        assert_eq!(
            (pool.first, pool.last),
            ("172.30.0.2".parse().unwrap(), "172.30.255.254".parse().unwrap())
        );
        let pool = bridge("10.0.0.6", 29).pool("n1");
        assert_eq!((pool.first, pool.last), ("10.0.0.1".parse().unwrap(), "10.0.0.5".parse().unwrap()));
        assert_eq!(bridge("172.30.0.1", 16).subnet(), "172.30.0.0/16");
    }

    #[test]
    fn only_sound_records_are_believed() {
        assert_eq!(parse("172.30.0.1/16"), Some((Ipv4Addr::new(172, 30, 0, 1), 16)));
        for bad in ["", "172.30.0.1", "172.30.0.1/33", "x/16"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
