//! Who is who in the networks of whoever asks. A container asks the resolver of one of its networks, and is answered for
//! all of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use cofferdam_dns::Names;

use super::{Network, links};
use crate::containers::Container;
use crate::containers::record::Joined;
use crate::engine::{Engine, Shared};

/// The names that the resolver of one network knows.
struct OfNetwork {
    engine: Weak<Engine>,
    id: String,
}

/// The names of a network.
pub(super) fn of(engine: &Shared, network: &Network) -> Arc<dyn Names> {
    Arc::new(OfNetwork { engine: Arc::downgrade(engine), id: network.id.clone() })
}

/// What a container is called in a network, in this order: its name, its aliases, its short ID, its host name.
pub fn names_of(container: &Container, network: &str) -> Vec<String> {
    let record = container.record();
    let mut names = vec![container.name()];
    let endpoint = record.endpoints.iter().find(|endpoint| endpoint.network == network);
    names.extend(endpoint.iter().flat_map(|endpoint| endpoint.aliases.iter().cloned()));
    names.push(container.id.short().to_owned());
    names.push(record.config.hostname.clone());
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.to_lowercase()));
    names
}

/// The containers of a network that run, with their places there.
fn live(engine: &Engine, network: &str) -> Vec<(Arc<Container>, Joined)> {
    let all = engine.containers.all().into_iter();
    all.filter_map(|container| {
        let status = container.status();
        let here = status.networks.iter().find(|joined| joined.network == network)?.clone();
        status.state.is_live().then_some((container, here))
    })
    .collect()
}

fn addresses_of(joined: &Joined) -> impl Iterator<Item = IpAddr> {
    let config = &joined.interface.config;
    std::iter::once(IpAddr::from(config.address)).chain(config.ipv6.map(|ipv6| ipv6.address.into()))
}

impl OfNetwork {
    /// Whoever has this address in the network.
    fn client(&self, engine: &Engine, address: Ipv4Addr) -> Option<Arc<Container>> {
        let found = live(engine, &self.id).into_iter();
        let mut found = found.filter(|(_, joined)| joined.interface.config.address == address);
        found.next().map(|(container, _)| container)
    }

    /// The networks for which a client is answered: all of its own that have names, or (for the host) this one.
    fn networks(&self, engine: &Engine, client: Option<&Container>) -> Vec<Arc<Network>> {
        let ids = match client {
            Some(container) => {
                container.status().networks.iter().map(|joined| joined.network.clone()).collect()
            }
            None => vec![self.id.clone()],
        };
        ids.iter().filter_map(|id| engine.networks.find(id).ok()).collect()
    }
}

impl Names for OfNetwork {
    fn addresses(&self, client: Ipv4Addr, name: &str) -> Option<Vec<IpAddr>> {
        let engine = self.engine.upgrade()?;
        let client = self.client(&engine, client);
        for network in self.networks(&engine, client.as_deref()) {
            // `web.network` is `web`.
            let suffix = network.name.to_lowercase();
            let short = name.strip_suffix(&suffix).and_then(|name| name.strip_suffix('.'));
            let wanted = |own: &str| {
                own.eq_ignore_ascii_case(name) || short.is_some_and(|short| own.eq_ignore_ascii_case(short))
            };
            // What the client alone calls others.
            let record = client.as_ref().map(|client| client.record());
            let endpoint =
                record.iter().flat_map(|record| &record.endpoints).find(|own| own.network == network.id);
            let linked = endpoint
                .iter()
                .flat_map(|endpoint| &endpoint.links)
                .map(|link| links::parse(link))
                .find(|(_, alias)| wanted(alias))
                .and_then(|(linked, _)| engine.containers.find(linked).ok());
            let found: Vec<_> = live(&engine, &network.id)
                .into_iter()
                .filter(|(container, _)| match &linked {
                    Some(linked) => container.id == linked.id,
                    None => names_of(container, &network.id).iter().any(|own| wanted(own)),
                })
                .flat_map(|(_, joined)| addresses_of(&joined).collect::<Vec<_>>())
                .collect();
            if !found.is_empty() {
                return Some(found);
            }
        }
        None
    }

    fn name(&self, client: Ipv4Addr, address: IpAddr) -> Option<String> {
        let engine = self.engine.upgrade()?;
        let client = self.client(&engine, client);
        for network in self.networks(&engine, client.as_deref()) {
            let found = live(&engine, &network.id).into_iter();
            let mut found = found.filter(|(_, joined)| addresses_of(joined).any(|own| own == address));
            if let Some((container, _)) = found.next() {
                // A network's name may hold what no domain name does.
                let name = &network.name;
                let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
                return Some(if plain { format!("{}.{name}", container.name()) } else { container.name() });
            }
        }
        None
    }

    fn upstream(&self, client: Ipv4Addr) -> Vec<SocketAddr> {
        let Some(engine) = self.engine.upgrade() else { return Vec::new() };
        // The address may be reached from elsewhere, but this is no resolver for the world.
        let Some(container) = self.client(&engine, client) else { return Vec::new() };
        if !container.status().networks.iter().any(|joined| joined.leads_out) {
            return Vec::new();
        }
        let own = container.record().host.dns.clone();
        let mut servers: Vec<IpAddr> = own.iter().filter_map(|server| server.parse().ok()).collect();
        if servers.is_empty() {
            servers.clone_from(&engine.config.dns);
        }
        if servers.is_empty() {
            // Read anew: the host may be in another network by now. Its loopback's servers can be reached from here.
            let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
            servers = lines.filter_map(|server| server.trim().parse().ok()).collect();
        }
        servers.into_iter().map(|server| SocketAddr::new(server, 53)).collect()
    }
}
