//! The engine's files for a container's `/etc`: hostname, hosts, resolv.conf. Pure text.

use std::net::{IpAddr, Ipv4Addr};

/// `/etc/hostname`
#[must_use]
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

/// `/etc/hosts`: the usual lines, the extra hosts, the container itself.
#[must_use]
pub fn hosts(hostname: &str, domain: &str, addresses: &[IpAddr], extra: &[(String, String)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    let own = if domain.is_empty() { hostname.to_owned() } else { format!("{hostname}.{domain} {hostname}") };
    for address in addresses {
        text.push_str(&format!("{address}\t{own}\n"));
    }
    // Without a network a container still reaches itself by its name.
    if addresses.is_empty() {
        text.push_str(&format!("127.0.1.1\t{own}\n"));
    }
    text
}

/// Splits `name:address`; `host-gateway` is the gateway. `None` when it is neither.
#[must_use]
pub fn extra_host(text: &str, gateway: Option<Ipv4Addr>) -> Option<(String, String)> {
    let (name, address) = text.split_once(':')?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    match (address, gateway) {
        ("host-gateway", Some(gateway)) => Some((name.to_owned(), gateway.to_string())),
        ("host-gateway", None) => Some((name.to_owned(), Ipv4Addr::LOCALHOST.to_string())),
        _ => address.parse::<std::net::IpAddr>().ok().map(|address| (name.to_owned(), address.to_string())),
    }
}

/// What a container's resolver is told beyond the host's own configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dns<'a> {
    /// `--dns`
    pub servers: &'a [String],
    /// `--dns-search`
    pub search: &'a [String],
    /// `--dns-option`
    pub options: &'a [String],
}

/// Servers for hosts that have none a container could reach.
const PUBLIC: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// `/etc/resolv.conf`, from the host's. `isolated` says that the host's loopback servers are out of reach.
#[must_use]
pub fn resolv_conf(host: &str, dns: Dns<'_>, isolated: bool) -> String {
    let of_host = |key: &str| {
        let lines = host.lines().filter_map(move |line| line.trim().strip_prefix(key).map(str::to_owned));
        lines
            .filter(|rest| rest.starts_with([' ', '\t']))
            .map(|rest| rest.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let reachable = |server: &String| {
        let address = server.split('%').next().unwrap_or_default().parse::<std::net::IpAddr>();
        !isolated || address.is_ok_and(|address| !address.is_loopback() && !server.contains('%'))
    };
    let mut servers: Vec<String> = dns.servers.to_vec();
    if servers.is_empty() {
        servers = of_host("nameserver").into_iter().filter(reachable).collect();
    }
    if servers.is_empty() && isolated {
        servers = PUBLIC.map(str::to_owned).to_vec();
    }
    let search = match dns.search {
        [] => of_host("search").pop().unwrap_or_default(),
        [only] if only == "." => String::new(),
        given => given.join(" "),
    };
    let options = if dns.options.is_empty() { of_host("options").join(" ") } else { dns.options.join(" ") };

    let mut text = String::new();
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    for (key, value) in [("search", search), ("options", options)] {
        if !value.is_empty() {
            text.push_str(&format!("{key} {value}\n"));
        }
    }
    text
}

/// The same in a network of a user's: everything is asked of the network's resolver, which forwards to `dns.servers`
/// itself. A name without a dot is a container's before it is anything else.
#[must_use]
pub fn resolv_conf_of_network(host: &str, dns: Dns<'_>, resolver: &str) -> String {
    let mut options: Vec<String> = dns.options.to_vec();
    if !options.iter().any(|option| option.starts_with("ndots:")) {
        options.push("ndots:0".to_owned());
    }
    let servers = [resolver.to_owned()];
    resolv_conf(host, Dns { servers: &servers, search: dns.search, options: &options }, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_name_the_container() {
        let text = hosts("box", "", &[[172, 30, 0, 2].into()], &[("db".to_owned(), "10.0.0.1".to_owned())]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.0.0.1\tdb\n172.30.0.2\tbox\n"));
        assert!(hosts("box", "lan", &[], &[]).ends_with("127.0.1.1\tbox.lan box\n"));
    }

    #[test]
    fn extra_hosts() {
        let gateway = Some(Ipv4Addr::new(172, 30, 0, 1));
        assert_eq!(extra_host("a:10.0.0.1", gateway).unwrap().1, "10.0.0.1");
        assert_eq!(extra_host("a:host-gateway", gateway).unwrap().1, "172.30.0.1");
        assert_eq!(extra_host("a:[::1]", gateway).unwrap().1, "::1");
        for bad in ["", "a", "a:", ":1.2.3.4", "a:b", "a b:1.2.3.4", "a\nb:1.2.3.4"] {
            assert_eq!(extra_host(bad, gateway), None, "{bad}");
        }
    }

    #[test]
    fn resolvers_that_cannot_be_reached_are_left_out() {
        let host = "# comment\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nsearch lan\noptions edns0\n";
        assert_eq!(
            resolv_conf(host, Dns::default(), true),
            "nameserver 10.1.1.1\nsearch lan\noptions edns0\n"
        );
        assert!(
            resolv_conf("nameserver 127.0.0.53\n", Dns::default(), true).starts_with("nameserver 8.8.8.8\n")
        );
        assert_eq!(resolv_conf("nameserver 127.0.0.53\n", Dns::default(), false), "nameserver 127.0.0.53\n");
        let given = (["9.9.9.9".to_owned()], [".".to_owned()]);
        let dns = Dns { servers: &given.0, search: &given.1, options: &[] };
        assert_eq!(resolv_conf(host, dns, true), "nameserver 9.9.9.9\noptions edns0\n");
        let text = resolv_conf_of_network(host, Dns::default(), "172.30.0.1");
        assert_eq!(text, "nameserver 172.30.0.1\nsearch lan\noptions ndots:0\n");
    }
}
