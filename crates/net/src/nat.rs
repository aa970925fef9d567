//! Outbound traffic: IPv4 forwarding, and one nftables table for each daemon.
//!
//! The table is replaced as a whole in one transaction, and nobody else's is touched. An `accept` here does not
//! overrule a `drop` in another table (a firewall's, or another container engine's forward policy).

use std::io::Write;
use std::process::{Command, Stdio};

use crate::{NetError, Subnet};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Where the program is when it is not on the path of a daemon that was started by hand.
const PROGRAMS: [&str; 2] = ["nft", "/usr/sbin/nft"];

pub(crate) fn enable_forwarding() -> Result<(), NetError> {
    let switched = std::fs::read_to_string(FORWARDING).map_err(NetError::Forwarding)?;
    if switched.trim() == "1" {
        return Ok(());
    }
    std::fs::write(FORWARDING, "1").map_err(NetError::Forwarding)
}

pub(crate) fn install(table: &str, bridge: &str, subnet: Subnet) -> Result<(), NetError> {
    run_nft(&rules(table, bridge, subnet))
}

/// Removes the table. Without `nft` there is none of ours.
pub(crate) fn remove(table: &str) -> Result<(), NetError> {
    match run_nft(&format!("add table ip {table}\ndelete table ip {table}\n")) {
        Err(NetError::NoNft(_)) => Ok(()),
        result => result,
    }
}

/// Adding the table first makes deleting it succeed in any case; all of it is one transaction.
fn rules(table: &str, bridge: &str, subnet: Subnet) -> String {
    format!(
        "add table ip {table}\n\
         delete table ip {table}\n\
         table ip {table} {{\n\
         \tchain postrouting {{\n\
         \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
         \t\tip saddr {subnet} oifname != \"{bridge}\" masquerade\n\
         \t}}\n\
         \tchain forward {{\n\
         \t\ttype filter hook forward priority filter; policy accept;\n\
         \t\tiifname \"{bridge}\" ip saddr != {subnet} drop\n\
         \t\tiifname \"{bridge}\" accept\n\
         \t\toifname \"{bridge}\" accept\n\
         \t}}\n\
         }}\n"
    )
}

fn run_nft(script: &str) -> Result<(), NetError> {
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
        let text = rules("cofferdam_a", "cfd-a", "172.30.0.0/16".parse().unwrap());
        assert!(
            text.starts_with(
                "add table ip cofferdam_a\ndelete table ip cofferdam_a\ntable ip cofferdam_a {\n"
            )
        );
        assert!(text.contains("ip saddr 172.30.0.0/16 oifname != \"cfd-a\" masquerade"));
    }
}
