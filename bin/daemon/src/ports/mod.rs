//! Published ports: who has which port of the host.
//!
//! ```text
//! start   take: a socket of ours on each port ──► record (with the state) ──► publish: nftables
//! end     release: nftables, then the sockets
//! ```
//!
//! Nothing is ever read from the sockets: packets go to the container before they could get there. They keep every other
//! program off the port, and find out whether one has it. A daemon that is started again makes the table with what its
//! records say, in one transaction, and takes the sockets again.

mod holder;
mod wish;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

use cofferdam_model::{ContainerId, Interface, Link, Protocol, PublishedPort};
use cofferdam_net::Published;
use serde_json::{Map, Value, json};

use crate::containers::config::Config;
use crate::containers::record::Status;
use crate::engine::Engine;
use crate::error::chain;
pub use wish::{Wish, wishes};

/// The sockets of all containers that have published ports.
#[derive(Debug, Default)]
pub struct Ports(Mutex<HashMap<ContainerId, Vec<Held>>>);

/// A port that is ours.
#[derive(Debug)]
struct Held {
    protocol: Protocol,
    address: SocketAddrV4,
    _socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(#[expect(dead_code, reason = "held open")] TcpListener),
    Udp(#[expect(dead_code, reason = "held open")] UdpSocket),
}

impl Held {
    fn take(protocol: Protocol, address: SocketAddrV4) -> std::io::Result<Self> {
        let (socket, bound) = match protocol {
            Protocol::Tcp => {
                let socket = TcpListener::bind(address)?;
                let bound = socket.local_addr()?;
                (Socket::Tcp(socket), bound)
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(address)?;
                let bound = socket.local_addr()?;
                (Socket::Udp(socket), bound)
            }
        };
        Ok(Self { protocol, address: SocketAddrV4::new(*address.ip(), bound.port()), _socket: socket })
    }

    /// Whether nobody else can have this address and port while we have.
    fn is_in_the_way(&self, protocol: Protocol, ip: Ipv4Addr, port: u16) -> bool {
        let own = *self.address.ip();
        self.protocol == protocol
            && self.address.port() == port
            && (own == ip || own.is_unspecified() || ip.is_unspecified())
    }
}

impl Ports {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ContainerId, Vec<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes ports for a container: all, or none and why not. `name` gives a container's name.
    pub fn take(
        &self,
        id: &ContainerId,
        wishes: &[Wish],
        name: impl Fn(&ContainerId) -> Option<String>,
    ) -> Result<Vec<PublishedPort>, String> {
        let mut all = self.lock();
        let mut taken: Vec<Held> = Vec::new();
        let mut published = Vec::new();
        for wish in wishes {
            let range = wish.host_ports.clone().unwrap_or(0..=0);
            let single = range.start() == range.end();
            let mut refusal = format!(
                "Bind for {}:{}-{} failed: all ports are allocated",
                wish.host_ip,
                range.start(),
                range.end()
            );
            let held = range.clone().find_map(|port| {
                let (ip, protocol) = (wish.host_ip, wish.port.protocol);
                let others = all.iter().flat_map(|(id, held)| held.iter().map(move |held| (Some(id), held)));
                let mut known = others.chain(taken.iter().map(|held| (None, held)));
                if let Some((other, _)) = known.find(|(_, held)| held.is_in_the_way(protocol, ip, port)) {
                    if single {
                        let other = other.map_or_else(
                            || "this container".to_owned(),
                            |other| {
                                format!(
                                    "container {}",
                                    name(other).unwrap_or_else(|| other.short().to_owned())
                                )
                            },
                        );
                        refusal = format!(
                            "Bind for {ip}:{port} failed: port is already allocated ({other} publishes it)"
                        );
                    }
                    return None;
                }
                match Held::take(protocol, SocketAddrV4::new(ip, port)) {
                    Ok(held) => Some(held),
                    Err(error) => {
                        if single {
                            let reason = chain(&error).to_ascii_lowercase();
                            let reason = reason.split(" (os error").next().unwrap_or_default();
                            let holder = holder::of(protocol, ip, port).map(|by| format!(" (by {by})"));
                            refusal = format!(
                                "failed to bind host port {ip}:{port}/{protocol}: {reason}{}",
                                holder.unwrap_or_default()
                            );
                        }
                        None
                    }
                }
            });
            let held = held.ok_or(refusal)?;
            published.push(PublishedPort {
                protocol: wish.port.protocol,
                host_ip: wish.host_ip,
                host_port: held.address.port(),
                container_port: wish.port.number,
            });
            taken.push(held);
        }
        if !taken.is_empty() {
            all.insert(id.clone(), taken);
        }
        Ok(published)
    }

    /// Takes the ports of a container that has been running all the time. One that somebody else has by now is left:
    /// what comes for it reaches the container all the same.
    pub fn take_again(&self, id: &ContainerId, published: &[PublishedPort]) {
        let held = published.iter().filter_map(|port| {
            let address = SocketAddrV4::new(port.host_ip, port.host_port);
            Held::take(port.protocol, address)
                .inspect_err(|error| {
                    tracing::warn!(%id, "cannot hold the published port {address}/{}: {error}", port.protocol);
                })
                .ok()
        });
        let held: Vec<Held> = held.collect();
        if !held.is_empty() {
            self.lock().insert(id.clone(), held);
        }
    }

    /// Lets go of a container's ports. One without any is fine.
    pub fn give_back(&self, id: &ContainerId) {
        self.lock().remove(id);
    }
}

/// Has a container's ports lead to it. Blocking.
pub fn publish(engine: &Engine, status: &Status) -> Result<(), String> {
    let (Some(table), Some(Link::Bridge { host_interface, .. })) =
        (table(engine), status.way_out().map(|interface| &interface.link))
    else {
        return Ok(());
    };
    let published =
        cofferdam_net::hairpin(host_interface).and_then(|()| cofferdam_net::publish(table, &led(status)));
    published.map_err(|error| chain(&error))
}

/// Has a running container's ports lead to another of its addresses. Blocking.
pub fn lead_elsewhere(engine: &Engine, from: &Status, to: &Status) -> Result<(), String> {
    if let Some(table) = table(engine) {
        cofferdam_net::unpublish(table, &led(from)).map_err(|error| chain(&error))?;
    }
    publish(engine, to)
}

/// Ends what [`Ports::take`] and [`publish`] began. `status` is the container's from before. Blocking.
pub fn release(engine: &Engine, id: &ContainerId, status: &Status) {
    let ports = led(status);
    if let (Some(table), false) = (table(engine), ports.is_empty())
        && let Err(error) = cofferdam_net::unpublish(table, &ports)
    {
        tracing::warn!(%id, "cannot take back published ports: {}", chain(&error));
    }
    engine.ports.give_back(id);
}

fn table(engine: &Engine) -> Option<&str> {
    engine.network.bridge.as_ref().map(|bridge| bridge.nft_table.as_str())
}

/// A status's published ports with where they lead.
pub fn led(status: &Status) -> Vec<Published> {
    // What is on the outside's network by itself has no ports of the host.
    let Some(Interface { link: Link::Bridge { .. }, config }) = status.way_out() else { return Vec::new() };
    status.ports.iter().map(|&port| Published { port, address: config.address }).collect()
}

/// `NetworkSettings.Ports` of `inspect`: exposed ports that are not published are `null`.
pub fn settings(config: &Config, status: &Status) -> Value {
    let mut ports = Map::new();
    for port in wish::exposed(config).unwrap_or_default() {
        ports.insert(port.to_string(), Value::Null);
    }
    for port in &status.ports {
        let key = format!("{}/{}", port.container_port, port.protocol);
        let binding = json!({ "HostIp": port.host_ip, "HostPort": port.host_port.to_string() });
        match ports.get_mut(&key) {
            Some(Value::Array(list)) => list.push(binding),
            _ => {
                ports.insert(key, json!([binding]));
            }
        }
    }
    Value::Object(ports)
}

/// `Ports` of the list.
pub fn summary(config: &Config, status: &Status) -> Value {
    let exposed = wish::exposed(config).unwrap_or_default().into_iter();
    let unpublished = exposed.filter(|port| {
        let same =
            |other: &PublishedPort| (other.container_port, other.protocol) == (port.number, port.protocol);
        !status.ports.iter().any(same)
    });
    let unpublished = unpublished.map(|port| json!({ "PrivatePort": port.number, "Type": port.protocol }));
    let published = status.ports.iter().map(|port| {
        json!({
            "IP": port.host_ip,
            "PrivatePort": port.container_port,
            "PublicPort": port.host_port,
            "Type": port.protocol,
        })
    });
    unpublished.chain(published).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(port: &str, ip: Ipv4Addr, host_ports: Option<std::ops::RangeInclusive<u16>>) -> Wish {
        Wish { port: port.parse().unwrap(), host_ip: ip, host_ports }
    }

    #[test]
    fn a_port_is_taken_once() {
        let ports = Ports::default();
        let (one, two) = (ContainerId::random(), ContainerId::random());
        let name = |_: &ContainerId| Some("web".to_owned());
        let any = [wish("80", Ipv4Addr::LOCALHOST, None)];
        let first = ports.take(&one, &any, name).unwrap();
        let number = first[0].host_port;
        assert!(number > 0);
        for ip in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
            let same = [wish("81", ip, Some(number..=number))];
            let error = ports.take(&two, &same, name).unwrap_err();
            let words = format!(
                "Bind for {ip}:{number} failed: port is already allocated (container web publishes it)"
            );
            assert_eq!(error, words);
        }
        // UDP has ports of its own, and a range goes on to the next.
        ports.take(&two, &[wish("81/udp", Ipv4Addr::LOCALHOST, Some(number..=number))], name).unwrap();
        ports.give_back(&two);
        ports.give_back(&one);
        let again = [wish("80", Ipv4Addr::LOCALHOST, Some(number..=number))];
        assert_eq!(ports.take(&one, &again, name).unwrap(), first);
    }

    #[test]
    fn a_port_of_another_program_is_named_with_it() {
        let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = theirs.local_addr().unwrap().port();
        let wishes =
            [wish("79", Ipv4Addr::LOCALHOST, None), wish("80", Ipv4Addr::LOCALHOST, Some(number..=number))];
        let ports = Ports::default();
        let error = ports.take(&ContainerId::random(), &wishes, |_| None).unwrap_err();
        assert!(
            error.starts_with(&format!(
                "failed to bind host port 127.0.0.1:{number}/tcp: address already in use (by "
            )) && error.contains(&std::process::id().to_string()),
            "{error}"
        );
        assert!(ports.lock().is_empty());
    }

    #[test]
    fn ports_are_shown_as_docker_does() {
        let config: Config =
            serde_json::from_value(json!({ "ExposedPorts": { "80/tcp": {}, "90/tcp": {} } })).unwrap();
        let port = PublishedPort {
            protocol: Protocol::Tcp,
            host_ip: Ipv4Addr::UNSPECIFIED,
            host_port: 8080,
            container_port: 80,
        };
        let status = Status { ports: vec![port], ..Status::default() };
        assert_eq!(
            settings(&config, &status),
            json!({ "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "8080" }], "90/tcp": null })
        );
        assert_eq!(
            summary(&config, &status),
            json!([
                { "PrivatePort": 90, "Type": "tcp" },
                { "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp" },
            ])
        );
    }
}
