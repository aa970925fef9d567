//! `create`: everything about a new container is checked here, before anything is made.

use std::sync::Arc;

use cofferdam_api::Owner;
use cofferdam_model::{ContainerId, Isolation, UnknownIsolation};
use cofferdam_store::NewContainer;
use jiff::Timestamp;

use super::actor::to_json;
use super::config::{Config, CreateRequest, HostConfig};
use super::health::Healthcheck;
use super::mounts::{self, InvalidMount, MountKind};
use super::record::{Record, Status};
use super::spec::{capabilities, devices, process::Security};
use super::{Container, claim_volumes, etc_files, image, limits, logs, names, restart, signals, spec, start};
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult};
use crate::{networks, policy, ports};

/// How many random names are tried.
const NAME_ATTEMPTS: u32 = 20;
const SHM_SIZE: i64 = 64 << 20;

/// Makes a container; its ID and warnings.
pub async fn create(
    engine: &Shared,
    name: Option<&str>,
    owner: Owner,
    request: CreateRequest,
) -> ApiResult<(ContainerId, Vec<String>)> {
    if let Some(name) = name.filter(|name| !names::is_valid(name.trim_start_matches('/'))) {
        return Err(ApiError::bad_request(names::refusal(name)));
    }
    let id = ContainerId::random();
    let mut warnings = Vec::new();
    // Until it is found among the containers, nobody else can know which volumes it uses.
    let gate = engine.volumes.gate.read().await;
    let mut record = check(engine, &id, owner, request, &mut warnings)?;
    let status = Status::default();
    claim_volumes::claim(engine, &mut record).await?;
    let name = claim_name(engine, &id, name.map(|name| name.trim_start_matches('/')), &record, &status);
    let made = match name {
        Ok(name) => make_data(engine, &id, &record).await.map(|()| name),
        Err(error) => Err(error),
    };
    let name = match made {
        Ok(name) => name,
        Err(error) => {
            engine.store.remove_container(&id)?;
            drop(gate);
            claim_volumes::give_back(engine, &record).await;
            return Err(error);
        }
    };
    let container = Container::spawn(engine, id.clone(), name, record, status);
    engine.containers.add(Arc::clone(&container));
    drop(gate);
    engine.events.publish(container.event("create"));
    Ok((id, warnings))
}

/// What a new container keeps: its directory, and the image's content in its empty volumes.
async fn make_data(engine: &Shared, id: &ContainerId, record: &Record) -> ApiResult<()> {
    let (root, isolation) = (engine.paths.container(id), record.isolation);
    let making = {
        let root = root.clone();
        tokio::task::spawn_blocking(move || start::make_data(&root, isolation))
    };
    let made =
        making.await.map_err(|error| ApiError::internal(format!("cannot make the container: {error}")))?;
    let made = match made {
        Ok(()) => claim_volumes::fill(engine, record).await,
        Err(error) => Err(error),
    };
    if made.is_err() {
        let _ = start::remove_directory(&root);
    }
    made
}

/// Records the container under its name, or under a free random one.
fn claim_name(
    engine: &Engine,
    id: &ContainerId,
    name: Option<&str>,
    record: &Record,
    status: &Status,
) -> ApiResult<String> {
    let (spec, state) = (to_json(record), to_json(status));
    let created = i64::try_from(record.created.as_nanosecond()).unwrap_or(i64::MAX);
    let claim = |name: &str| {
        engine.store.insert_container(&NewContainer { id, name, created, spec: &spec, state: &state })
    };
    if let Some(name) = name {
        claim(name)?;
        return Ok(name.to_owned());
    }
    for attempt in 0..NAME_ATTEMPTS {
        let name = names::random(attempt);
        match claim(&name) {
            Ok(()) => return Ok(name),
            Err(cofferdam_store::StoreError::NameInUse { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let name = id.short().to_owned();
    claim(&name)?;
    Ok(name)
}

fn check(
    engine: &Engine,
    id: &ContainerId,
    owner: Owner,
    request: CreateRequest,
    warnings: &mut Vec<String>,
) -> ApiResult<Record> {
    let CreateRequest { config: mut wanted, mut host_config, networking_config } = request;
    // `HostConfig` and `NetworkingConfig` travel in the same object as the configuration.
    wanted.others.remove("HostConfig");
    wanted.others.remove("NetworkingConfig");
    let asked = match host_config.isolation.to_ascii_lowercase().as_str() {
        "" | "default" => None,
        text => Some(text.parse().map_err(|_unknown| {
            let unknown = UnknownIsolation(host_config.isolation.clone());
            ApiError::bad_request(unknown.to_string())
        })?),
    };
    if wanted.image.is_empty() {
        return Err(ApiError::bad_request("no image specified: Config.Image cannot be empty"));
    }
    let image = image::find(engine, &wanted.image)?;
    let isolation = policy::level(engine, &image, &wanted.labels, owner, asked)?;
    let mut config = merge(wanted, image.container_config()).map_err(ApiError::bad_request)?;
    let (path, args) = program(&config)?;
    networks::join::check(engine, id.as_str(), &mut config, &host_config)?;
    if config.hostname.is_empty() && host_config.network_mode == "host" {
        // On the host's network a container goes by the host's name, as in Docker.
        rustix::system::uname().nodename().to_string_lossy().as_ref().clone_into(&mut config.hostname);
    }
    check_config(&mut config, id)?;
    limits::merge_default(&mut host_config, &engine.config.default_ulimits);
    logs::options::complete(&mut host_config.log_config, &engine.config.log);
    let whose = limits::Whose::of(isolation, &engine.config.data_root);
    check_host(&mut host_config, &whose, warnings)?;
    check_unsupported(&config, &host_config, warnings)?;

    networks::links::check(engine, &host_config)?;
    let mut endpoints = networks::resolve(engine, &host_config, &networking_config)?;
    // The older place for the first network's MAC address.
    if let (Some(first), false) = (endpoints.first_mut(), config.mac_address.is_empty())
        && first.mac.is_none()
    {
        first.mac = Some(networks::check_mac(&config.mac_address)?);
    }

    let invalid = |error| match error {
        InvalidMount::Wrong(text) => ApiError::bad_request(text),
        InvalidMount::Later(what) => ApiError::not_implemented(what, "the volumes issue"),
    };
    let mut inherited = Vec::new();
    for from in host_config.volumes_from.iter().flatten() {
        let (name, mode) = from.split_once(':').unwrap_or((from, ""));
        let record = engine.containers.find(name)?.record();
        inherited.extend(mounts::inherit(&record.mounts, mode).map_err(invalid)?);
    }
    let mounts = mounts::collect(&host_config, inherited, &image.container_config().volumes, &config.volumes)
        .map_err(invalid)?;
    for mount in mounts.iter().filter(|mount| mount.kind == MountKind::Bind && !mount.create_source) {
        if !std::path::Path::new(&mount.source).exists() {
            return Err(ApiError::bad_request(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                mount.source
            )));
        }
    }
    if isolation == Isolation::Hyperv {
        engine.vm.require()?;
    }
    isolation.as_str().clone_into(&mut host_config.isolation);
    Ok(Record {
        image: image.id().to_string(),
        created: Timestamp::now(),
        isolation,
        path,
        args,
        config,
        host: host_config,
        mounts,
        endpoints,
        owner,
    })
}

/// The request's configuration over the image's.
pub(super) fn merge(mut config: Config, image: &cofferdam_image::ContainerConfig) -> Result<Config, String> {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    if config.stop_signal.is_empty() {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    for (port, value) in &image.exposed_ports {
        config.exposed_ports.entry(port.clone()).or_insert_with(|| value.clone());
    }
    for (key, value) in &image.labels {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let name = |entry: &String| entry.split_once('=').map_or(entry.clone(), |(name, _)| name.to_owned());
    for entry in &image.env {
        if !config.env.iter().any(|own| name(own) == name(entry)) {
            config.env.push(entry.clone());
        }
    }
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // `--entrypoint ""` takes the image's away.
    if config.entrypoint.as_deref().is_some_and(|words| matches!(words, [only] if only.is_empty())) {
        config.entrypoint = None;
    }
    if let Some(image) = &image.healthcheck {
        let image = Healthcheck::of_image(image)?;
        config.healthcheck = Some(config.healthcheck.take().unwrap_or_default().over(image));
    }
    Ok(config)
}

/// The program and its arguments.
fn program(config: &Config) -> ApiResult<(String, Vec<String>)> {
    let words = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten());
    let mut words = words.cloned();
    match words.next() {
        Some(program) => Ok((program, words.collect())),
        None => Err(ApiError::bad_request("no command specified")),
    }
}

fn check_config(config: &mut Config, id: &ContainerId) -> ApiResult<()> {
    let wrong = |text: String| Err(ApiError::bad_request(text));
    if config.hostname.is_empty() {
        id.short().clone_into(&mut config.hostname);
    }
    let plain = |name: &str| {
        !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if !plain(&config.hostname) || !(config.domainname.is_empty() || plain(&config.domainname)) {
        return wrong(format!("invalid hostname format: {}", config.hostname));
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return wrong(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        ));
    }
    if !config.stop_signal.is_empty() && signals::parse(&config.stop_signal).is_none() {
        return wrong(format!("Invalid signal: {}", config.stop_signal));
    }
    if let Some(text) = config.healthcheck.as_ref().and_then(Healthcheck::refusal) {
        return wrong(text);
    }
    if let Some(entry) = config.env.iter().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        return wrong(format!("invalid environment variable: {entry}"));
    }
    let texts =
        config.env.iter().chain(config.cmd.iter().flatten()).chain(config.entrypoint.iter().flatten());
    if texts.chain([&config.user, &config.working_dir]).any(|text| text.contains('\0')) {
        return wrong("invalid container configuration: a value contains a NUL byte".to_owned());
    }
    Ok(())
}

/// What of a container a level cannot express.
pub(super) fn beyond(host: &HostConfig, isolation: Isolation) -> Vec<String> {
    let mut found = Vec::new();
    if isolation == Isolation::Process {
        return found;
    }
    let mode = host.network_mode.as_str();
    if mode == "host" {
        found.push(
            "network mode host cannot be used with isolation hyperv: the container has a kernel of its own; use \
             bridge or none, or isolation process"
                .to_owned(),
        );
    }
    if mode.starts_with("container:") {
        found.push(format!(
            "network mode {mode} cannot be used with isolation hyperv: the container has a kernel of its own; \
             join a network with the other container, or use isolation process"
        ));
    }
    for (kind, mode) in [("pid", &host.pid_mode), ("ipc", &host.ipc_mode), ("uts", &host.uts_mode)] {
        if mode == "host" {
            found.push(format!(
                "{kind} mode host cannot be used with isolation hyperv: the container has a kernel of its own"
            ));
        }
    }
    if !host.devices.is_empty() {
        found.push(
            "host devices cannot be used with isolation hyperv: a utility VM has none of them; use isolation process"
                .to_owned(),
        );
    }
    found
}

fn check_host(host: &mut HostConfig, whose: &limits::Whose<'_>, warnings: &mut Vec<String>) -> ApiResult<()> {
    let wrong = |text: String| Err(ApiError::bad_request(text));
    let bad = |error: &dyn std::error::Error| ApiError::bad_request(error.to_string());
    if let Some(text) = beyond(host, whose.isolation).into_iter().next() {
        return wrong(text);
    }
    match host.network_mode.as_str() {
        "" | "default" | "bridge" => "bridge".clone_into(&mut host.network_mode),
        "none" => {}
        "host" => {}
        // A user's, which `networks::resolve` finds.
        _ => {}
    }
    for (kind, mode, allowed) in [
        ("PID", &host.pid_mode, ["host", "private"].as_slice()),
        ("IPC", &host.ipc_mode, &["host", "private", "shareable", "none"]),
        ("UTS", &host.uts_mode, &["host", "private"]),
        ("cgroup namespace", &host.cgroupns_mode, &["host", "private"]),
    ] {
        if mode.starts_with("container:") {
            return Err(ApiError::not_implemented(
                "sharing namespaces with another container",
                "the networks issue",
            ));
        }
        if !mode.is_empty() && !allowed.contains(&mode.as_str()) {
            return wrong(format!("invalid {kind} mode: {mode}"));
        }
    }
    let fills = |field: &mut String, default: &str| {
        if field.is_empty() {
            default.clone_into(field);
        }
    };
    fills(&mut host.ipc_mode, "private");
    fills(&mut host.cgroupns_mode, "private");
    fills(&mut host.runtime, "cofferdam");
    fills(&mut host.restart_policy.name, "no");
    if host.shm_size == 0 {
        host.shm_size = SHM_SIZE;
    }
    if host.shm_size < 0 {
        return wrong("SHM size can not be less than 0".to_owned());
    }

    if let Some(text) = restart::refusal(&host.restart_policy, host.auto_remove) {
        return wrong(text);
    }
    logs::options::settings(&host.log_config).map_err(ApiError::bad_request)?;
    limits::check(host, whose, warnings).map_err(ApiError::bad_request)?;
    let empty = Vec::new();
    let (add, drop) = (host.cap_add.as_ref().unwrap_or(&empty), host.cap_drop.as_ref().unwrap_or(&empty));
    capabilities::effective(add, drop, host.privileged, capabilities::Bounding::FULL)
        .map_err(|error| bad(&error))?;
    let security = Security::parse(host).map_err(|error| bad(&error))?;
    security.seccomp(host.privileged, &[]).map_err(|error| bad(&error))?;
    devices::check_rules(host.device_cgroup_rules.as_deref().unwrap_or_default())
        .map_err(|error| bad(&error))?;
    if let Some(text) =
        host.extra_hosts.iter().flatten().find(|text| etc_files::extra_host(text, None).is_none())
    {
        return wrong(format!("invalid add-host: {text:?}: want host:address"));
    }
    if let Some(server) = host.dns.iter().find(|server| server.parse::<std::net::IpAddr>().is_err()) {
        return wrong(format!("bad nameserver address: {server}"));
    }
    if !host.privileged {
        host.masked_paths.get_or_insert_with(spec::masked_paths);
        host.readonly_paths.get_or_insert_with(spec::readonly_paths);
    }
    Ok(())
}

/// What Docker has and this engine does not have yet: refused where leaving it out would change what runs, said in a
/// warning where it would not.
fn check_unsupported(config: &Config, host: &HostConfig, warnings: &mut Vec<String>) -> ApiResult<()> {
    let wishes = ports::wishes(config, host).map_err(ApiError::bad_request)?;
    if !wishes.is_empty() && host.network_mode == "host" {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    if host.device_requests.as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(ApiError::internal(
            "could not select device driver \"\" with capabilities: [[gpu]]".to_owned(),
        ));
    }
    if !host.storage_opt.is_empty() {
        return Err(ApiError::bad_request(
            "--storage-opt is supported only for block devices of named size: not here",
        ));
    }
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return Err(ApiError::bad_request(format!("invalid USER mode: {}", host.userns_mode)));
    }
    if !host.cgroup_parent.is_empty() {
        warnings.push("The cgroup parent is recorded but containers stay below the daemon's own.".to_owned());
    }
    if !matches!(host.runtime.as_str(), "" | "runc" | "cofferdam" | "io.containerd.runc.v2") {
        return Err(ApiError::bad_request(format!("unknown or invalid runtime name: {}", host.runtime)));
    }
    warnings.extend(config.healthcheck.as_ref().and_then(Healthcheck::warning));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(host: serde_json::Value, isolation: Isolation) -> Result<HostConfig, String> {
        let mut host: HostConfig = super::super::config::lenient(host).unwrap();
        let mut warnings = Vec::new();
        logs::options::complete(&mut host.log_config, &crate::config::default_log());
        let whose = limits::Whose::of(isolation, std::path::Path::new("/"));
        check_host(&mut host, &whose, &mut warnings)
            .and_then(|()| check_unsupported(&Config::default(), &host, &mut warnings))
            .map(|()| host)
            .map_err(|error| error.message)
    }

    #[test]
    fn defaults_are_filled_in() {
        let host = checked(serde_json::json!({}), Isolation::Process).unwrap();
        assert_eq!((host.network_mode.as_str(), host.shm_size), ("bridge", SHM_SIZE));
        assert_eq!(host.restart_policy.name, "no");
        assert!(host.masked_paths.is_some());
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (host, words) in [
            (serde_json::json!({"Memory": 1000}), "Minimum memory limit"),
            (serde_json::json!({"NanoCpus": 1_000_000_000_000_000_i64}), "range of CPUs"),
            (serde_json::json!({"RestartPolicy": {"Name": "x"}}), "unknown policy 'x'"),
            (serde_json::json!({"CapAdd": ["FLY"]}), "FLY"),
            (serde_json::json!({"SecurityOpt": ["seccomp={"]}), "decoding seccomp profile"),
            (serde_json::json!({"Ulimits": [{"Name": "x"}]}), "invalid ulimit type: x"),
            (serde_json::json!({"LogConfig": {"Type": "syslog"}}), "no log driver named 'syslog'"),
            (serde_json::json!({"PidMode": "x"}), "invalid PID mode: x"),
            (serde_json::json!({"ExtraHosts": ["x"]}), "invalid add-host"),
            (
                serde_json::json!({"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}),
                "invalid port specification",
            ),
            (serde_json::json!({"Runtime": "kata"}), "unknown or invalid runtime name: kata"),
        ] {
            let error = checked(host.clone(), Isolation::Process).unwrap_err();
            assert!(error.contains(words), "{host}: {error}");
        }
    }

    #[test]
    fn the_hosts_namespaces_do_not_reach_a_vm() {
        for host in [serde_json::json!({"NetworkMode": "host"}), serde_json::json!({"PidMode": "host"})] {
            assert!(checked(host.clone(), Isolation::Hyperv).unwrap_err().contains("isolation hyperv"));
            assert!(checked(host, Isolation::Process).is_ok());
        }
    }

    #[test]
    fn the_image_gives_what_was_not_said() {
        let image = cofferdam_image::ContainerConfig {
            entrypoint: Some(vec!["/entry".to_owned()]),
            cmd: Some(vec!["serve".to_owned()]),
            env: vec!["A=1".to_owned(), "B=2".to_owned()],
            user: "web".to_owned(),
            ..Default::default()
        };
        let merged = |config: Config| {
            let config = merge(config, &image).unwrap();
            (program(&config).unwrap(), config)
        };
        let words = |list: &[&str]| Some(list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let ((path, args), config) = merged(Config { env: vec!["B=3".to_owned()], ..Config::default() });
        assert_eq!((path.as_str(), args), ("/entry", vec!["serve".to_owned()]));
        assert_eq!((config.user.as_str(), config.env), ("web", vec!["B=3".to_owned(), "A=1".to_owned()]));
        let ((_, args), _) = merged(Config { cmd: words(&["x"]), ..Config::default() });
        assert_eq!(args, ["x"]);
        let ((path, args), _) = merged(Config { entrypoint: words(&["sh"]), ..Config::default() });
        assert_eq!((path.as_str(), args.len()), ("sh", 0));
        let ((path, _), _) =
            merged(Config { entrypoint: words(&[""]), cmd: words(&["ls"]), ..Config::default() });
        assert_eq!(path, "ls");
    }
}
