//! `--publish`.

use cofferdam_client::models::PortBinding;

/// A published port: the container's (`80/tcp`) and where it appears on the host.
pub type Published = (String, PortBinding);

/// `[[ip:][host]:]container[/protocol]`; ranges of ports in both places.
pub fn publish(text: &str) -> Result<Vec<Published>, String> {
    let invalid = |why: &str| format!("invalid port {text:?}: {why}");
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(invalid("the protocol is tcp, udp or sctp"));
    }
    let (host, container) = ports.rsplit_once(':').unwrap_or(("", ports));
    let (address, host) = host.rsplit_once(':').unwrap_or(("", host));
    let range = |text: &str| -> Result<Vec<u16>, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok((first..=last).collect()),
            _ => Err(invalid("a port is a number from 1 to 65535, or a range")),
        }
    };
    let container = range(container)?;
    let hosts: Vec<String> = match host {
        "" => vec![String::new(); container.len()],
        host => range(host)?.iter().map(u16::to_string).collect(),
    };
    if hosts.len() != container.len() {
        return Err(invalid("the two ranges have different lengths"));
    }
    let address = address.trim_matches(['[', ']']);
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(invalid("the host part is not an IP address"));
    }
    let pairs = container.iter().zip(hosts).map(|(port, host)| {
        let binding = PortBinding { host_ip: Some(address.to_owned()), host_port: Some(host) };
        (format!("{port}/{protocol}"), binding)
    });
    Ok(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let one = |text: &str| {
            let (port, binding) = publish(text).unwrap().remove(0);
            (port, binding.host_ip.unwrap(), binding.host_port.unwrap())
        };
        assert_eq!(one("80"), ("80/tcp".into(), "".into(), "".into()));
        assert_eq!(one("8080:80/udp"), ("80/udp".into(), "".into(), "8080".into()));
        assert_eq!(one("127.0.0.1:8080:80"), ("80/tcp".into(), "127.0.0.1".into(), "8080".into()));
        assert_eq!(one("[::1]::80"), ("80/tcp".into(), "::1".into(), "".into()));
        assert_eq!(publish("8000-8002:80-82").unwrap().len(), 3);
        for bad in ["", "x", "0", "80/icmp", "1-2:3", "70000:1", "host:1:2"] {
            assert!(publish(bad).is_err(), "{bad}");
        }
    }
}
