//! Which process has a port: for an error message, so whatever cannot be read is left out (proc(5), `/proc/net/tcp`).

use std::net::Ipv4Addr;
use std::path::Path;

use cofferdam_model::Protocol;

/// `nginx (PID 123)`
pub fn of(protocol: Protocol, ip: Ipv4Addr, port: u16) -> Option<String> {
    let table = std::fs::read_to_string(format!("/proc/net/{protocol}")).ok()?;
    let link = format!("socket:[{}]", inode(&table, protocol, ip, port)?);
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    // Not `self` and the like, which are others of the same names.
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| holds(&Path::new("/proc").join(pid.to_string()), &link))?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (PID {pid})", name.trim()))
}

fn holds(process: &Path, link: &str) -> bool {
    let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == link)
}

/// The inode of the socket in whose way a new one would be.
fn inode(table: &str, protocol: Protocol, ip: Ipv4Addr, port: u16) -> Option<&str> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, number) = fields.get(1)?.split_once(':')?;
        let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
        // 0A: it listens. A UDP socket is in the way in any state.
        let stands = protocol == Protocol::Udp || *fields.get(3)? == "0A";
        let same = address == ip || address.is_unspecified() || ip.is_unspecified();
        (stands && same && u16::from_str_radix(number, 16).ok()? == port)
            .then(|| fields.get(9).copied())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0\n   \
                     1: 00000000:0050 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0\n";
        let find = |ip, port| inode(table, Protocol::Tcp, ip, port);
        assert_eq!(find(Ipv4Addr::UNSPECIFIED, 8080), Some("4711"));
        assert_eq!(find(Ipv4Addr::LOCALHOST, 8080), Some("4711"));
        assert_eq!(find(Ipv4Addr::new(10, 0, 0, 1), 8080), None);
        assert_eq!(find(Ipv4Addr::UNSPECIFIED, 80), None);
        assert_eq!(inode("", Protocol::Tcp, Ipv4Addr::LOCALHOST, 1), None);
    }
}
