//! What a container asks for: `HostConfig.PortBindings`, `PublishAllPorts` and `Config.ExposedPorts` made exact.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use cofferdam_model::{ContainerPort, decimal};
use serde_json::Value;

use crate::containers::config::{Config, HostConfig};

/// One port to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The container's.
    pub port: ContainerPort,
    /// The host's address; unspecified for every one.
    pub host_ip: Ipv4Addr,
    /// The host's port, or several of which the first free one is taken; none when any will do.
    pub host_ports: Option<RangeInclusive<u16>>,
}

/// Everything to publish, in the order of the container's ports.
pub fn wishes(config: &Config, host: &HostConfig) -> Result<Vec<Wish>, String> {
    let mut wishes = Vec::new();
    for (port, bindings) in &host.port_bindings {
        let port: ContainerPort = port.parse().map_err(|error| format!("{error}"))?;
        let bindings = match bindings {
            Value::Null => &[][..],
            Value::Array(list) => list,
            _ => return Err(format!("invalid port bindings of {port}: want a list")),
        };
        // An entry without a binding publishes on any port of the host, as Docker has it.
        let anywhere = [Value::Object(serde_json::Map::new())];
        for binding in if bindings.is_empty() { &anywhere[..] } else { bindings } {
            wishes.push(wish(port, binding)?);
        }
    }
    if host.publish_all_ports {
        for port in exposed(config)? {
            if !wishes.iter().any(|wish| wish.port == port) {
                wishes.push(Wish { port, host_ip: Ipv4Addr::UNSPECIFIED, host_ports: None });
            }
        }
    }
    wishes.sort_by_key(|wish| wish.port);
    Ok(wishes)
}

/// The ports that are exposed, one by one.
pub fn exposed(config: &Config) -> Result<Vec<ContainerPort>, String> {
    let mut ports = Vec::new();
    for text in config.exposed_ports.keys() {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let range = range(numbers).ok_or_else(|| format!("invalid port specification: {text:?}"))?;
        for number in range {
            ports.push(format!("{number}/{protocol}").parse().map_err(|error| format!("{error}"))?);
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

fn wish(port: ContainerPort, binding: &Value) -> Result<Wish, String> {
    let text = |key: &str| match &binding[key] {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text.as_str()),
        other => Err(format!("invalid {key} of {port}: {other}")),
    };
    let host_ip = match text("HostIp")? {
        "" => Ipv4Addr::UNSPECIFIED,
        address => match address.parse() {
            Ok(IpAddr::V4(address)) => address,
            Ok(IpAddr::V6(_)) => {
                return Err(format!(
                    "cannot publish {port} on {address}: containers have no IPv6 addresses here"
                ));
            }
            Err(_) => return Err(format!("invalid IP address {address:?} of {port}")),
        },
    };
    let host_ports = match text("HostPort")? {
        "" | "0" => None,
        numbers => {
            let invalid = || format!("invalid port specification: {numbers:?}");
            Some(range(numbers).filter(|range| *range.start() > 0).ok_or_else(invalid)?)
        }
    };
    Ok(Wish { port, host_ip, host_ports })
}

/// `80`, `8000-8010`
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = decimal(first)?..=decimal(last)?;
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wishes_of(host: Value, exposed: Value) -> Result<Vec<String>, String> {
        let host: HostConfig = serde_json::from_value(host).unwrap();
        let config: Config = serde_json::from_value(json!({ "ExposedPorts": exposed })).unwrap();
        let show = |wish: Wish| format!("{}:{:?}->{}", wish.host_ip, wish.host_ports, wish.port);
        Ok(wishes(&config, &host)?.into_iter().map(show).collect())
    }

    #[test]
    fn bindings_become_exact() {
        let host = json!({ "PublishAllPorts": true, "PortBindings": {
            "80/tcp": [{ "HostPort": "8080" }, { "HostIp": "127.0.0.1", "HostPort": "8000-8010" }],
            "53/udp": [{ "HostIp": "", "HostPort": "" }],
            "90": null,
        }});
        let want = [
            "0.0.0.0:None->53/udp",
            "0.0.0.0:Some(8080..=8080)->80/tcp",
            "127.0.0.1:Some(8000..=8010)->80/tcp",
            "0.0.0.0:None->90/tcp",
            "0.0.0.0:None->100/tcp",
            "0.0.0.0:None->101/tcp",
        ];
        assert_eq!(wishes_of(host, json!({ "80/tcp": {}, "100-101": {} })).unwrap(), want);
        assert!(wishes_of(json!({}), json!({ "80/tcp": {} })).unwrap().is_empty());
    }

    #[test]
    fn nonsense_is_named() {
        for (bindings, words) in [
            (json!({ "x": [] }), "invalid port specification: \"x\""),
            (json!({ "80/sctp": [] }), "80/sctp"),
            (json!({ "80": 1 }), "want a list"),
            (json!({ "80": [{ "HostPort": 8080 }] }), "HostPort"),
            (json!({ "80": [{ "HostPort": "9-8" }] }), "\"9-8\""),
            (json!({ "80": [{ "HostPort": "70000" }] }), "\"70000\""),
            (json!({ "80": [{ "HostIp": "::" }] }), "IPv6"),
            (json!({ "80": [{ "HostIp": "x" }] }), "\"x\""),
        ] {
            let error = wishes_of(json!({ "PortBindings": bindings.clone() }), json!({})).unwrap_err();
            assert!(error.contains(words), "{bindings}: {error}");
        }
    }
}
