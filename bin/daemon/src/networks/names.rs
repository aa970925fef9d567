//! Who is who in a network, for its resolver.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use cofferdam_dns::Names;

use super::Network;
use crate::containers::Container;
use crate::engine::{Engine, Shared};

/// The names of one network.
struct OfNetwork {
    engine: Weak<Engine>,
    id: String,
    /// In lower case.
    name: String,
    internal: bool,
}

/// The names of a network.
pub(super) fn of(engine: &Shared, network: &Network) -> Arc<dyn Names> {
    Arc::new(OfNetwork {
        engine: Arc::downgrade(engine),
        id: network.id.clone(),
        name: network.name.to_lowercase(),
        internal: network.spec.internal,
    })
}

/// What a container is called in its network, in this order: its name, its aliases, its short ID, its host name.
pub fn names_of(container: &Container) -> Vec<String> {
    let record = container.record();
    let mut names = vec![container.name()];
    names.extend(record.endpoint.iter().flat_map(|endpoint| endpoint.aliases.iter().cloned()));
    names.push(container.id.short().to_owned());
    names.push(record.config.hostname.clone());
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.to_lowercase()));
    names
}

impl OfNetwork {
    /// The containers of the network that run, with their addresses.
    fn live(&self, engine: &Engine) -> Vec<(Arc<Container>, Ipv4Addr)> {
        let all = engine.containers.all().into_iter();
        all.filter_map(|container| {
            let (record, status) = (container.record(), container.status());
            let here = record.endpoint.as_ref().is_some_and(|endpoint| endpoint.network == self.id);
            let address = status.network.as_ref().filter(|_| here && status.state.is_live())?.address;
            Some((container, address))
        })
        .collect()
    }
}

impl Names for OfNetwork {
    fn addresses(&self, name: &str) -> Option<Vec<Ipv4Addr>> {
        let engine = self.engine.upgrade()?;
        // `web.network` is `web`.
        let short = name.strip_suffix(&self.name).and_then(|name| name.strip_suffix('.'));
        let wanted = |own: String| {
            own.eq_ignore_ascii_case(name) || short.is_some_and(|short| own.eq_ignore_ascii_case(short))
        };
        let found = self.live(&engine).into_iter();
        let found: Vec<_> = found
            .filter(|(container, _)| names_of(container).into_iter().any(wanted))
            .map(|(_, address)| address)
            .collect();
        (!found.is_empty()).then_some(found)
    }

    fn name(&self, address: Ipv4Addr) -> Option<String> {
        let engine = self.engine.upgrade()?;
        let (container, _) = self.live(&engine).into_iter().find(|(_, own)| *own == address)?;
        // A network's name may hold what no domain name does.
        let plain = self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        Some(if plain { format!("{}.{}", container.name(), self.name) } else { container.name() })
    }

    fn upstream(&self, client: Ipv4Addr) -> Vec<SocketAddr> {
        let Some(engine) = self.engine.upgrade().filter(|_| !self.internal) else { return Vec::new() };
        // The address may be reached from elsewhere, but this is no resolver for the world.
        let asked = self.live(&engine).into_iter().find(|(_, address)| *address == client);
        let Some((container, _)) = asked else { return Vec::new() };
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
