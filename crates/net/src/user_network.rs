//! The rules of a network: the default one's, and those of users. Each has a table of its own, so that one more or less
//! changes no other.

use crate::{Subnet, Subnet6};

/// What may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether nothing goes in or out: containers reach each other and the host only.
    pub internal: bool,
    /// Whether containers reach each other. Frames between them are kept apart by the bridge
    /// ([`cofferdam_model::BridgeNetwork::isolated`]); packets that they send by way of the host, here.
    pub between_containers: bool,
    /// Whether containers go out with the host's address.
    pub masquerade: bool,
}

impl Policy {
    /// The default network's.
    pub(crate) const OPEN: Self = Self { internal: false, between_containers: true, masquerade: true };
}

/// The table as a whole, with `more` in it, to be put in place of the former one in one transaction: adding the table first
/// makes deleting it succeed in any case. What the chains are for is said in [`crate::nat`].
pub(crate) fn rules(table: &str, bridge: &str, subnet: Subnet, policy: Policy, more: &str) -> String {
    let wire = format!(
        "\tchain wire {{\n\
         \t\ttype filter hook prerouting priority raw; policy accept;\n\
         \t\tiifname \"{bridge}\" ip daddr 127.0.0.0/8 drop\n\
         \t\tiifname \"{bridge}\" ip saddr 127.0.0.0/8 drop\n\
         \t}}\n"
    );
    let to_published =
        format!("\t\toifname \"{bridge}\" ct status dnat ip saddr {{ 127.0.0.0/8, {subnet} }} masquerade\n");
    let own = chains(["ip", "icmp"], bridge, &subnet.to_string(), policy, &to_published);
    replaced("ip", table, &format!("{more}{wire}{own}"))
}

/// The same for the network's IPv6, in a table of the other family. No port is published there.
pub(crate) fn rules_v6(table: &str, bridge: &str, subnet: Subnet6, policy: Policy) -> String {
    replaced("ip6", table, &chains(["ip6", "icmpv6"], bridge, &subnet.to_string(), policy, ""))
}

fn replaced(family: &str, table: &str, chains: &str) -> String {
    format!(
        "add table {family} {table}\n\
         delete table {family} {table}\n\
         table {family} {table} {{\n\
         {chains}\
         }}\n"
    )
}

/// What goes out, and what passes. `translated` are more rules for what goes out by the bridge.
fn chains(words: [&str; 2], bridge: &str, subnet: &str, policy: Policy, translated: &str) -> String {
    let [family, icmp] = words;
    let (outbound, forward) = (outbound(family, subnet, bridge, policy), forward(icmp, bridge, policy));
    format!(
        "\tchain postrouting {{\n\
         \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
         {outbound}\
         {translated}\
         \t}}\n\
         \tchain forward {{\n\
         \t\ttype filter hook forward priority filter; policy accept;\n\
         \t\tiifname \"{bridge}\" {family} saddr != {subnet} drop\n\
         {forward}\
         \t}}\n"
    )
}

fn outbound(family: &str, subnet: &str, bridge: &str, policy: Policy) -> String {
    if policy.masquerade && !policy.internal {
        format!("\t\t{family} saddr {subnet} oifname != \"{bridge}\" masquerade\n")
    } else {
        String::new()
    }
}

/// What passes within the network, and between it and what is beyond.
fn forward(icmp: &str, bridge: &str, policy: Policy) -> String {
    let within = if policy.between_containers {
        format!("\t\tiifname \"{bridge}\" oifname \"{bridge}\" accept\n")
    } else {
        format!(
            "\t\tiifname \"{bridge}\" oifname \"{bridge}\" ct state established,related accept\n\
             \t\tiifname \"{bridge}\" oifname \"{bridge}\" ct status dnat accept\n\
             \t\tiifname \"{bridge}\" oifname \"{bridge}\" drop\n"
        )
    };
    let beyond = if policy.internal {
        format!(
            "\t\tiifname \"{bridge}\" reject with {icmp} type admin-prohibited\n\
             \t\toifname \"{bridge}\" drop\n"
        )
    } else {
        format!(
            "\t\tiifname \"{bridge}\" accept\n\
             \t\toifname \"{bridge}\" ct state established,related accept\n\
             \t\toifname \"{bridge}\" ct status dnat accept\n\
             \t\toifname \"{bridge}\" drop\n"
        )
    };
    within + &beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_in_the_rules() {
        let text = |internal, between_containers| {
            let policy = Policy { internal, between_containers, masquerade: true };
            rules("t", "b", "172.30.0.0/16".parse().unwrap(), policy, "")
        };
        let open = text(false, true);
        assert!(open.starts_with("add table ip t\ndelete table ip t\ntable ip t {\n"));
        assert!(open.contains("ip saddr 172.30.0.0/16 oifname != \"b\" masquerade"));
        assert!(open.contains("oifname \"b\" ct status dnat accept\n\t\toifname \"b\" drop"));
        let closed = text(true, false);
        assert!(!closed.contains("oifname != \"b\" masquerade"));
        assert!(closed.contains("reject"));
        assert!(closed.contains("iifname \"b\" oifname \"b\" drop"));
    }
}
