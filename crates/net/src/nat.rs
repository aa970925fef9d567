//! What passes between a bridge and the world beyond: IPv4 forwarding, and one nftables table for each daemon.
//!
//! * Outbound: containers go out with the host's address.
//! * Inbound: only through published ports. They are elements of two maps ([`crate::published`]); the address that they
//!   lead to is put in place in `prerouting` (others, and containers) and in `output` (the host itself).
//! * On the way to a published port of a container, a sender on the same bridge and the host's own 127.0.0.1 get the
//!   bridge's address, or the answer would go past the host. That the bridge routes 127.0.0.0/8 at all is needed for the
//!   latter; `wire` drops whatever comes from containers with such an address.
//!
//! The table is replaced as a whole in one transaction, and nobody else's is touched. An `accept` here does not
//! overrule a `drop` in another table (a firewall's, or another container engine's forward policy).

use std::io::Write;
use std::process::{Command, Stdio};

use crate::published::{ANYWHERE, AT_ADDRESS, elements};
use crate::user_network::{Policy, rules};
use crate::{NetError, Published, Subnet};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
const FORWARDING_V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Where the program is when it is not on the path of a daemon that was started by hand.
const PROGRAMS: [&str; 2] = ["nft", "/usr/sbin/nft"];

pub(crate) fn enable_forwarding() -> Result<(), NetError> {
    switch_on(FORWARDING)
}

/// Only networks with IPv6 need it: the host's own interfaces then take no addresses from routers any more, unless their
/// `accept_ra` is 2 (kernel: `ip-sysctl`).
pub(crate) fn enable_forwarding_v6() -> Result<(), NetError> {
    switch_on(FORWARDING_V6)
}

fn switch_on(path: &str) -> Result<(), NetError> {
    let switched = std::fs::read_to_string(path).map_err(NetError::Forwarding)?;
    if switched.trim() == "1" {
        return Ok(());
    }
    std::fs::write(path, "1").map_err(NetError::Forwarding)
}

/// Lets packets with the host's loopback address out by this bridge, after the rules are there that keep others in.
/// (Kernel: `ip-sysctl`, `route_localnet`.)
pub(crate) fn route_loopback(bridge: &str) -> Result<(), NetError> {
    let path = format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet");
    std::fs::write(path, "1").map_err(NetError::Forwarding)
}

pub(crate) fn install(
    table: &str,
    bridge: &str,
    subnet: Subnet,
    published: &[Published],
) -> Result<(), NetError> {
    let rules = rules(table, bridge, subnet, Policy::OPEN, &publishing());
    run_nft(&(rules + &elements(table, published, &["add"])))
}

/// Removes the table, of both families. Without `nft` there is none of ours.
pub(crate) fn remove(table: &str) -> Result<(), NetError> {
    let mut script = format!("add table ip {table}\ndelete table ip {table}\n");
    // A kernel without IPv6 knows no such family.
    if std::path::Path::new(FORWARDING_V6).exists() {
        script += &format!("add table ip6 {table}\ndelete table ip6 {table}\n");
    }
    match run_nft(&script) {
        Err(NetError::NoNft(_)) => Ok(()),
        result => result,
    }
}

/// What the default network's table has beside a network's rules: the maps of published ports, its own containers' and
/// those of users' networks, and what looks into them.
fn publishing() -> String {
    format!(
        "\tmap {ANYWHERE} {{\n\
         \t\ttype inet_proto . inet_service : ipv4_addr . inet_service\n\
         \t}}\n\
         \tmap {AT_ADDRESS} {{\n\
         \t\ttype ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service\n\
         \t}}\n\
         \tchain to_containers {{\n\
         \t\tdnat ip to ip daddr . meta l4proto . th dport map @{AT_ADDRESS}\n\
         \t\tdnat ip to meta l4proto . th dport map @{ANYWHERE}\n\
         \t}}\n\
         \tchain prerouting {{\n\
         \t\ttype nat hook prerouting priority dstnat; policy accept;\n\
         \t\tfib daddr type local jump to_containers\n\
         \t}}\n\
         \tchain output {{\n\
         \t\ttype nat hook output priority -100; policy accept;\n\
         \t\tfib daddr type local jump to_containers\n\
         \t}}\n"
    )
}

pub(crate) fn run_nft(script: &str) -> Result<(), NetError> {
    let start = |program| {
        Command::new(program)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    };
    let mut child = start(PROGRAMS[0]).or_else(|_| start(PROGRAMS[1])).map_err(NetError::NoNft)?;
    if let Some(mut input) = child.stdin.take() {
        // It may refuse before it has read everything; then its words say more than a broken pipe.
        let _ = input.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(NetError::NoNft)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("it gave no reason").trim().to_owned();
    Err(NetError::NftRefused(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_in_one_script() {
        let subnet = "172.30.0.0/16".parse().unwrap();
        let text = rules("cofferdam_a", "cfd-a", subnet, Policy::OPEN, &publishing());
        assert!(
            text.starts_with(
                "add table ip cofferdam_a\ndelete table ip cofferdam_a\ntable ip cofferdam_a {\n"
            )
        );
        assert!(text.contains("ip saddr 172.30.0.0/16 oifname != \"cfd-a\" masquerade"));
    }
}
