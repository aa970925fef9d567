//! A query from a container to its network's resolver.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

struct Everybody;

impl cofferdam_dns::Names for Everybody {
    fn addresses(&self, client: Ipv4Addr, name: &str) -> Option<Vec<IpAddr>> {
        let address = if name.len() % 3 == 0 { IpAddr::from(Ipv6Addr::LOCALHOST) } else { client.into() };
        (name.len() % 2 == 0).then(|| vec![address; name.len()])
    }

    fn name(&self, _client: Ipv4Addr, address: IpAddr) -> Option<String> {
        address.is_ipv4().then(|| format!("web.{address}"))
    }

    fn upstream(&self, _client: Ipv4Addr) -> Vec<SocketAddr> {
        Vec::new()
    }
}

libfuzzer_sys::fuzz_target!(|query: &[u8]| {
    let _ = cofferdam_dns::judge(query, Ipv4Addr::LOCALHOST, &Everybody);
});
