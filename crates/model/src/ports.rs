//! Ports of a container, and the host's ports that lead to them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port inside a container: `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPort {
    /// 1 to 65535.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl fmt::Display for ContainerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// Text that is no port of a container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid port specification: {0:?}")]
pub struct InvalidPort(String);

impl FromStr for ContainerPort {
    type Err = InvalidPort;

    /// `80`, `80/tcp`, `53/udp`.
    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        let invalid = || InvalidPort(text.to_owned());
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(invalid()),
        };
        let number = decimal(number).filter(|number| *number > 0).ok_or_else(invalid)?;
        Ok(Self { number, protocol })
    }
}

/// `80`; no sign and no blank, which `parse` would take.
#[must_use]
pub fn decimal(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A port of the host that leads to one of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The protocol of both.
    pub protocol: Protocol,
    /// The host's address; unspecified (`0.0.0.0`) for every one.
    pub host_ip: Ipv4Addr,
    /// The host's port.
    pub host_port: u16,
    /// The container's.
    pub container_port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_as_docker_writes_them() {
        let port = |text: &str| text.parse::<ContainerPort>().map(|port| port.to_string());
        assert_eq!(port("80").unwrap(), "80/tcp");
        assert_eq!(port("53/UDP").unwrap(), "53/udp");
        for bad in ["", "0", "65536", "+80", " 80", "80/", "80/sctp", "80-90", "x/tcp"] {
            assert_eq!(port(bad).unwrap_err().to_string(), format!("invalid port specification: {bad:?}"));
        }
    }
}
