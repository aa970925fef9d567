//! `--link`: names that one container alone has for others.

use std::net::IpAddr;

use crate::containers::config::HostConfig;
use crate::containers::record::Record;
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};

/// `container:alias`; without an alias the name is both.
pub fn parse(link: &str) -> (&str, &str) {
    let link = link.strip_prefix('/').unwrap_or(link);
    match link.split_once(':') {
        Some((name, alias)) if !alias.is_empty() => (name, alias),
        _ => (link.trim_end_matches(':'), link.trim_end_matches(':')),
    }
}

/// Checks links on the default network, whose containers have no other names for each other. In users' networks clients
/// give them twice, and the endpoint's count.
pub fn check(engine: &Engine, host: &HostConfig) -> ApiResult<()> {
    for link in of_default(host) {
        let (name, alias) = parse(link);
        if name.is_empty() || !alias.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiError::bad_request(format!("bad format for links: {link}")));
        }
        let linked = engine.containers.find(name).map_err(|_absent| {
            ApiError::bad_request(format!("could not get container for {name}: No such container: {name}"))
        })?;
        if linked.record().network() != crate::network::NAME {
            return Err(ApiError::bad_request(format!(
                "cannot link to {name}: it is not in the default network; join a network with it instead"
            )));
        }
    }
    Ok(())
}

fn of_default(host: &HostConfig) -> impl Iterator<Item = &String> {
    host.links.iter().flatten().filter(|_| host.network_mode == crate::network::NAME)
}

/// Lines for the `hosts` file of a container in the default network: names and address of each container that it is
/// linked to. They must run.
pub fn hosts(engine: &Engine, record: &Record) -> ApiResult<Vec<(String, IpAddr)>> {
    let mut lines = Vec::new();
    for link in of_default(&record.host) {
        let (name, alias) = parse(link);
        let linked = engine.containers.find(name)?;
        let status = linked.status();
        let joined = status.networks.iter().find(|joined| joined.network == engine.network.id);
        let Some(joined) = joined.filter(|_| status.state.is_live()) else {
            return Err(ApiError::conflict(format!(
                "Cannot link to a non running container: /{name} AS {alias}"
            )));
        };
        let mut names = vec![alias.to_owned(), linked.record().config.hostname.clone(), linked.name()];
        names.dedup();
        lines.push((names.join(" "), IpAddr::from(joined.interface.config.address)));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_a_name_and_an_alias() {
        assert_eq!(parse("db:database"), ("db", "database"));
        assert_eq!(parse("/db"), ("db", "db"));
        assert_eq!(parse("db:"), ("db", "db"));
    }
}
