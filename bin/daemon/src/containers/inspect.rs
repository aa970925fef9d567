//! `GET /containers/{id}/json`.

use std::path::Path;

use cofferdam_api::ContainerExtension;
use cofferdam_model::{InterfaceConfig, State};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::bundle::DataDirs;
use super::mounts::MountKind;
use super::record::{Record, Status};
use super::spec::mounts::anonymous_source;
use super::{Container, exec, logs};
use crate::engine::Engine;
use crate::networks::Endpoint;
use crate::{networks, ports};

/// Go's zero time: never.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Everything about a container.
pub fn inspect(engine: &Engine, container: &Container, size: bool) -> Value {
    let (record, status) = (container.record(), container.status());
    let dirs = DataDirs::of(engine, container);
    let etc = dirs.etc();
    let execs = exec::ids(container);
    // These fields are the default network's.
    let on_default = status.networks.iter().find(|joined| joined.network == engine.network.id);
    let bridge = on_default.filter(|_| status.state.is_live()).map(|joined| &joined.interface.config);
    let mut json = json!({
        "Id": container.id,
        "Created": record.created.to_string(),
        "Path": record.path,
        "Args": record.args,
        "State": state(&status),
        "Image": record.image,
        "ResolvConfPath": text(&etc.resolv_conf),
        "HostnamePath": text(&etc.hostname),
        "HostsPath": text(&etc.hosts),
        "LogPath": logs::shown_path(engine, container),
        "Name": format!("/{}", container.name()),
        "RestartCount": status.restarts,
        "Driver": "overlayfs",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": if execs.is_empty() { Value::Null } else { json!(execs) },
        "HostConfig": record.host,
        "GraphDriver": { "Name": "overlayfs", "Data": { "UpperDir": text(&dirs.upper()), "WorkDir": text(&dirs.work()) } },
        "Mounts": mounts(engine, container),
        "Config": record.config,
        "NetworkSettings": {
            "Bridge": "",
            "SandboxID": "",
            "SandboxKey": if status.pid > 0 { format!("/proc/{}/ns/net", status.pid) } else { String::new() },
            "HairpinMode": false,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "Ports": if status.state.is_live() { ports::settings(&record.config, &status) } else { json!({}) },
            "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null,
            "EndpointID": bridge.map_or(String::new(), |_| endpoint_id(container, &engine.network.id)),
            "Gateway": bridge.map_or(String::new(), |bridge| gateway_of(bridge.gateway)),
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "IPAddress": bridge.map_or(String::new(), |bridge| bridge.address.to_string()),
            "IPPrefixLen": bridge.map_or(0, |bridge| bridge.prefix),
            "IPv6Gateway": "",
            "MacAddress": bridge.map_or(String::new(), |bridge| bridge.mac.clone()),
            "Networks": networks(engine, container, &record, &status),
        },
        "Cofferdam": ContainerExtension {
            isolation: record.isolation,
            owner: record.owner,
            vm: status.vm.clone(),
        },
    });
    if record.isolation == cofferdam_model::Isolation::Hyperv {
        json["GraphDriver"]["Data"] = json!({ "Disk": text(&dirs.disk()) });
    }
    if size {
        let (own, all) = sizes(engine, container);
        json["SizeRw"] = json!(own);
        json["SizeRootFs"] = json!(all);
    }
    json
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

fn state(status: &Status) -> Value {
    let mut state = json!({
        "Status": status.word(),
        "Running": status.is_running(),
        "Paused": status.state == State::Paused,
        "Restarting": status.restarting,
        "OOMKilled": status.oom_killed,
        "Dead": false,
        "Pid": status.pid,
        "ExitCode": status.exit_code,
        "Error": status.error,
        "StartedAt": time(status.started),
        "FinishedAt": time(status.finished),
    });
    if let Some(health) = &status.health {
        state["Health"] = json!(health);
    }
    state
}

/// As stable as the container: it has one endpoint in a network.
pub fn endpoint_id(container: &Container, network: &str) -> String {
    hex::encode(Sha256::digest(format!("cofferdam endpoint {} {network}", container.id)))
}

fn gateway_of(gateway: Option<impl ToString>) -> String {
    gateway.map(|gateway| gateway.to_string()).unwrap_or_default()
}

/// The networks a container is in, by name.
pub(super) fn networks(engine: &Engine, container: &Container, record: &Record, status: &Status) -> Value {
    let mode = record.network();
    if record.endpoints.is_empty() && matches!(mode, "none" | "host") {
        let network = hex::encode(Sha256::digest(format!("cofferdam network {mode} of {}", engine.instance)));
        return json!({ mode: settings(&Endpoint { network, ..Endpoint::default() }, None, container) });
    }
    let mut networks = serde_json::Map::new();
    for endpoint in &record.endpoints {
        let joined = status.networks.iter().find(|joined| joined.network == endpoint.network);
        let config = joined.filter(|_| status.state.is_live()).map(|joined| &joined.interface.config);
        let mut shown = settings(endpoint, config, container);
        if endpoint.network != engine.network.id {
            shown["Aliases"] = json!(endpoint.aliases);
            shown["DNSNames"] = json!(networks::names_of(container, &endpoint.network));
        }
        networks.insert(endpoint.name.clone(), shown);
    }
    Value::Object(networks)
}

fn settings(endpoint: &Endpoint, config: Option<&InterfaceConfig>, container: &Container) -> Value {
    let mut pinned = serde_json::Map::new();
    if let Some(address) = endpoint.address {
        pinned.insert("IPv4Address".to_owned(), json!(address));
    }
    if let Some(address) = endpoint.address6 {
        pinned.insert("IPv6Address".to_owned(), json!(address));
    }
    let ipv6 = config.and_then(|config| config.ipv6);
    json!({
        "IPAMConfig": if pinned.is_empty() { Value::Null } else { Value::Object(pinned) },
        "Links": if endpoint.links.is_empty() { Value::Null } else { json!(endpoint.links) },
        "Aliases": null,
        "DriverOpts": null,
        "GwPriority": 0,
        "NetworkID": endpoint.network,
        "EndpointID": config.map_or(String::new(), |_| endpoint_id(container, &endpoint.network)),
        "Gateway": config.map_or(String::new(), |config| gateway_of(config.gateway)),
        "IPAddress": config.map_or(String::new(), |config| config.address.to_string()),
        "IPPrefixLen": config.map_or(0, |config| config.prefix),
        "MacAddress": config.map_or(String::new(), |config| config.mac.clone()),
        "IPv6Gateway": gateway_of(ipv6.and_then(|ipv6| ipv6.gateway)),
        "GlobalIPv6Address": ipv6.map_or(String::new(), |ipv6| ipv6.address.to_string()),
        "GlobalIPv6PrefixLen": ipv6.map_or(0, |ipv6| ipv6.prefix),
        "DNSNames": null,
    })
}

/// What is mounted, as lists and `inspect` show it. `--tmpfs` shows in `HostConfig` only, as Docker has it.
pub(super) fn mounts(engine: &Engine, container: &Container) -> Value {
    let data = engine.paths.container(&container.id);
    let record = container.record();
    let shown = record.mounts.iter().filter(|mount| mount.kind != MountKind::TmpfsOption);
    shown
        .map(|mount| {
            let source = match mount.kind {
                MountKind::Anonymous => text(&anonymous_source(&data, &mount.destination)),
                _ => mount.source.clone(),
            };
            let mut shown = json!({
                "Type": match mount.kind {
                    MountKind::Bind => "bind",
                    MountKind::Volume | MountKind::Anonymous => "volume",
                    MountKind::Tmpfs | MountKind::TmpfsOption => "tmpfs",
                },
                "Source": source,
                "Destination": mount.destination,
                "Mode": match mount.kind {
                    MountKind::Bind | MountKind::Volume => mount.mode.as_str(),
                    _ => "",
                },
                "RW": mount.writable,
                "Propagation": mount.propagation,
            });
            if mount.kind == MountKind::Volume {
                shown["Name"] = json!(mount.name);
                shown["Driver"] = json!("local");
            }
            shown
        })
        .collect()
}

/// Bytes of the container's own files, and of all files.
pub(super) fn sizes(engine: &Engine, container: &Container) -> (u64, u64) {
    let record = container.record();
    let dirs = DataDirs::of(engine, container);
    let own = match record.isolation {
        cofferdam_model::Isolation::Process => size_below(&dirs.upper()),
        // What the sparse disk takes: what is in it only its guest knows.
        cofferdam_model::Isolation::Hyperv => {
            use std::os::unix::fs::MetadataExt as _;
            std::fs::metadata(dirs.disk()).map_or(0, |disk| disk.blocks() * 512)
        }
    };
    let image =
        record.image.parse().ok().and_then(|id| engine.images.get(&id)).map_or(0, |image| image.size());
    (own, own + image)
}

fn size_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_below(&entry.path()),
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => 0,
        })
        .sum()
}
