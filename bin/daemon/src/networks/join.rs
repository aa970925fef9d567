//! `--network container:NAME`: a container in the network namespace of another, which that one's shim owns.

use cofferdam_model::Isolation;

use crate::containers::config::{Config, HostConfig};
use crate::containers::shim_pid;
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};

/// Checks what a container asks for beside another's network. It goes by that one's name.
pub fn check(engine: &Engine, id: &str, config: &mut Config, host: &HostConfig) -> ApiResult<()> {
    let Some(name) = host.network_mode.strip_prefix("container:") else { return Ok(()) };
    let conflict =
        |what: &str| Err(ApiError::bad_request(format!("conflicting options: {what} and the network mode")));
    if !config.hostname.is_empty() {
        return conflict("hostname");
    }
    if host.links.as_ref().is_some_and(|links| !links.is_empty()) {
        return conflict("links");
    }
    if !host.dns.is_empty() {
        return conflict("dns");
    }
    if host.extra_hosts.as_ref().is_some_and(|hosts| !hosts.is_empty()) {
        return conflict("custom host-to-IP mapping");
    }
    if !config.mac_address.is_empty() {
        return conflict("mac-address");
    }
    if host.publish_all_ports || !host.port_bindings.is_empty() {
        return conflict("port publishing");
    }
    if !config.exposed_ports.is_empty() {
        return conflict("port exposing");
    }
    let other = engine.containers.find(name)?;
    if other.id.as_str() == id {
        return Err(ApiError::bad_request("cannot join own network"));
    }
    let record = other.record();
    if record.isolation == Isolation::Hyperv {
        return Err(ApiError::bad_request(format!(
            "cannot join the network of container {name}: it has a kernel of its own (isolation hyperv); join a \
             network with it instead"
        )));
    }
    if record.network().starts_with("container:") {
        return Err(ApiError::bad_request(format!(
            "cannot join the network of container {name}: it has joined another's itself"
        )));
    }
    config.hostname.clone_from(&record.config.hostname);
    config.domainname.clone_from(&record.config.domainname);
    Ok(())
}

/// The shim that owns the network namespace of a running container.
pub fn shim_of(engine: &Engine, name: &str) -> ApiResult<i32> {
    let other = engine.containers.find(name)?;
    if !other.status().state.is_live() {
        return Err(ApiError::conflict(format!(
            "cannot join network of a non running container: {}",
            other.id
        )));
    }
    let pid = shim_pid(&engine.paths.bundle(&other.id));
    pid.ok_or_else(|| ApiError::internal(format!("container {name} has no shim")))
}
