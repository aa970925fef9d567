//! Ports of the host that lead to containers: elements of two maps in the daemon's nftables table, so that one more or
//! less changes no rule.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use cofferdam_model::PublishedPort;

use crate::NetError;
use crate::nat::run_nft;

/// From any of the host's addresses: protocol and port lead to a container's address and port.
pub(crate) const ANYWHERE: &str = "published";
/// From one of them only.
pub(crate) const AT_ADDRESS: &str = "published_at";

/// A published port, and the container's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Which port of the host leads to which of the container.
    pub port: PublishedPort,
    /// The container's address.
    pub address: Ipv4Addr,
}

impl Published {
    fn map(&self) -> &'static str {
        if self.port.host_ip.is_unspecified() { ANYWHERE } else { AT_ADDRESS }
    }

    fn element(&self) -> String {
        let PublishedPort { protocol, host_ip, host_port, container_port } = self.port;
        let from = if host_ip.is_unspecified() { String::new() } else { format!("{host_ip} . ") };
        format!("{from}{protocol} . {host_port} : {} . {container_port}", self.address)
    }
}

/// Has ports lead to containers: all of them or, when one leads elsewhere already, none.
pub fn publish(table: &str, ports: &[Published]) -> Result<(), NetError> {
    change(&elements(table, ports, &["add"]))
}

/// Lets a container come to its own published ports: where bridges' packets pass nftables (`br_netfilter`), the bridge
/// would have to send what it got from an interface back to it.
pub fn hairpin(host_interface: &str) -> Result<(), NetError> {
    let path = format!("/sys/class/net/{host_interface}/brport/hairpin_mode");
    let doing = format!("set hairpin mode of {host_interface}");
    std::fs::write(path, "1").map_err(|source| NetError::Netlink { doing, source })
}

/// Ends [`publish`]. Those that lead nowhere are no error.
pub fn unpublish(table: &str, ports: &[Published]) -> Result<(), NetError> {
    // What has been added first can be deleted in any case.
    change(&elements(table, ports, &["add", "delete"]))
}

fn change(script: &str) -> Result<(), NetError> {
    if script.is_empty() { Ok(()) } else { run_nft(script) }
}

/// One line for each port and verb; all of a script is one transaction.
pub(crate) fn elements(table: &str, ports: &[Published], verbs: &[&str]) -> String {
    let mut script = String::new();
    for verb in verbs {
        for port in ports {
            let _written =
                writeln!(script, "{verb} element ip {table} {} {{ {} }}", port.map(), port.element());
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_model::Protocol;

    #[test]
    fn elements_name_their_map() {
        let port = |host_ip, protocol| Published {
            port: PublishedPort { protocol, host_ip, host_port: 8080, container_port: 80 },
            address: Ipv4Addr::new(172, 30, 0, 2),
        };
        let ports = [port(Ipv4Addr::UNSPECIFIED, Protocol::Tcp), port(Ipv4Addr::LOCALHOST, Protocol::Udp)];
        assert_eq!(
            elements("t", &ports, &["add"]),
            "add element ip t published { tcp . 8080 : 172.30.0.2 . 80 }\n\
             add element ip t published_at { 127.0.0.1 . udp . 8080 : 172.30.0.2 . 80 }\n"
        );
        assert_eq!(elements("t", &ports[..1], &["add", "delete"]).lines().count(), 2);
    }
}
