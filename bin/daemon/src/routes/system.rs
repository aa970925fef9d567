//! `/_ping`, `/version`, `/info`, `/auth`

use std::collections::HashMap;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use cofferdam_api::models::{
    Commit, FirewallInfo, IndexInfo, PluginsInfo, RegistryServiceConfig, Runtime, SwarmInfo, SystemInfo,
    SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum, SystemInfoDefaultAddressPools,
    SystemInfoIsolationEnum, SystemVersion, SystemVersionComponents, SystemVersionPlatform,
};
use cofferdam_api::{ApiVersion, Info, InfoExtension, Version};
use cofferdam_model::Isolation;
use cofferdam_sys::cgroup::Hierarchy;
use serde_json::Value;

use crate::containers::{self, logs};
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult};
use crate::server::Api;

/// This group's routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/_ping", get(ping))
        .route("/version", get(version))
        .route("/info", get(info))
        .route("/auth", post(auth))
}

async fn ping() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (header::PRAGMA, "no-cache"),
        // The classic builder: buildx would look for a BuildKit that is not here.
        (HeaderName::from_static("builder-version"), "1"),
        (HeaderName::from_static("swarm"), "inactive"),
    ];
    let headers: HeaderMap =
        headers.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect();
    (headers, "OK")
}

/// Our own version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

async fn version(State(engine): State<Shared>) -> Json<Version> {
    let uname = rustix::system::uname();
    let kernel = uname.release().to_string_lossy().into_owned();
    let component = |name: &str, version: &str, details: &[(&str, &str)]| {
        let details: HashMap<_, _> =
            details.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        SystemVersionComponents {
            name: name.to_owned(),
            version: version.to_owned(),
            details: (!details.is_empty()).then_some(details),
        }
    };
    let mut components = vec![component(
        "Engine",
        VERSION,
        &[
            ("ApiVersion", &ApiVersion::NEWEST.to_string()),
            ("Arch", arch()),
            ("BuildTime", ""),
            ("Experimental", "false"),
            ("GitCommit", ""),
            ("GoVersion", ""),
            ("KernelVersion", &kernel),
            ("MinAPIVersion", &ApiVersion::OLDEST.to_string()),
            ("Os", "linux"),
        ],
    )];
    if let Some((name, number)) = engine.vm.hypervisor().split_once(' ') {
        components.push(component(name, number, &[]));
    }
    if let Some(guest) = engine.vm.guest().filter(|guest| !guest.release.is_empty()) {
        components.push(component("guest-kernel", &guest.release, &[]));
    }
    Json(SystemVersion {
        platform: Some(SystemVersionPlatform { name: "Cofferdam".to_owned() }),
        components: Some(components),
        version: Some(VERSION.to_owned()),
        api_version: Some(ApiVersion::NEWEST.to_string()),
        min_api_version: Some(ApiVersion::OLDEST.to_string()),
        git_commit: Some(String::new()),
        go_version: Some(String::new()),
        os: Some("linux".to_owned()),
        arch: Some(arch().to_owned()),
        kernel_version: Some(kernel),
        experimental: Some(false),
        build_time: Some(String::new()),
    })
}

/// Go's name of the architecture, which images use too.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn info(State(engine): State<Shared>, Api(version): Api) -> ApiResult<Json<Value>> {
    let images = i64::try_from(super::images::all(&engine).await?.len()).unwrap_or(i64::MAX);
    let describe = move || Info { system: system_info(&engine, images), cofferdam: Some(extension(&engine)) };
    // Reads a dozen small files.
    let info = tokio::task::spawn_blocking(describe).await;
    let info = info.map_err(|error| ApiError::internal(error.to_string()))?;
    let mut json = serde_json::to_value(info).map_err(|error| ApiError::internal(error.to_string()))?;
    if version.warns_of_bridge_filter() {
        // Our rules do not need it.
        json["BridgeNfIptables"] = true.into();
        json["BridgeNfIp6tables"] = true.into();
    }
    Ok(Json(json))
}

fn system_info(engine: &Engine, images: i64) -> SystemInfo {
    let uname = rustix::system::uname();
    let machine = rustix::system::sysinfo();
    let is_v2 = matches!(Hierarchy::detect(), Ok(Hierarchy::V2(_)));
    let offers = containers::host_offers();
    let counts = engine.containers.counts();
    let count = |n: usize| Some(i64::try_from(n).unwrap_or(i64::MAX));
    let text = |text: &str| Some(text.to_owned());
    let runtime = Runtime { path: text(&engine.pieces.shim.to_string_lossy()), ..Runtime::default() };
    let commit = || Some(Commit { id: text("") });
    SystemInfo {
        id: Some(engine.id.clone()),
        containers: count(counts.running + counts.paused + counts.stopped),
        containers_running: count(counts.running),
        containers_paused: count(counts.paused),
        containers_stopped: count(counts.stopped),
        images: Some(images),
        driver: text("overlayfs"),
        driver_status: Some(vec![vec!["hyperv root".to_owned(), "EROFS + ext4 disks".to_owned()]]),
        docker_root_dir: text(&engine.paths.data_root.to_string_lossy()),
        plugins: Some(PluginsInfo {
            volume: Some(vec!["local".to_owned()]),
            network: Some(["bridge", "host", "null"].map(str::to_owned).to_vec()),
            authorization: None,
            log: Some(logs::options::DRIVERS.map(str::to_owned).to_vec()),
        }),
        memory_limit: Some(offers.memory),
        swap_limit: Some(offers.swap),
        cpu_cfs_period: Some(offers.cpu_quota),
        cpu_cfs_quota: Some(offers.cpu_quota),
        cpu_shares: Some(offers.cpu_shares),
        cpu_set: Some(offers.cpuset),
        pids_limit: Some(offers.pids),
        oom_kill_disable: Some(offers.oom_kill_disable),
        ipv4_forwarding: Some(file("/proc/sys/net/ipv4/ip_forward") == "1"),
        debug: Some(matches!(engine.config.log_level.as_str(), "debug" | "trace")),
        nfd: count(std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)),
        n_goroutines: count(tokio::runtime::Handle::current().metrics().num_alive_tasks()),
        system_time: Some(jiff::Timestamp::now().to_string()),
        logging_driver: text(&engine.config.log.driver),
        cgroup_driver: Some(SystemInfoCgroupDriverEnum::CGROUPFS),
        cgroup_version: Some(if is_v2 {
            SystemInfoCgroupVersionEnum::_2
        } else {
            SystemInfoCgroupVersionEnum::_1
        }),
        n_events_listener: count(engine.events.listeners()),
        kernel_version: Some(uname.release().to_string_lossy().into_owned()),
        operating_system: Some(os_release("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned())),
        os_version: Some(os_release("VERSION_ID").unwrap_or_default()),
        os_type: text("linux"),
        architecture: Some(uname.machine().to_string_lossy().into_owned()),
        ncpu: count(std::thread::available_parallelism().map_or(1, usize::from)),
        mem_total: i64::try_from(u128::from(machine.totalram) * u128::from(machine.mem_unit)).ok(),
        index_server_address: text("https://index.docker.io/v1/"),
        registry_config: Some(registries(engine)),
        http_proxy: text(""),
        https_proxy: text(""),
        no_proxy: text(""),
        name: Some(uname.nodename().to_string_lossy().into_owned()),
        labels: Some(Vec::new()),
        experimental_build: Some(false),
        server_version: text(VERSION),
        runtimes: Some(HashMap::from([("cofferdam".to_owned(), runtime)])),
        default_runtime: text("cofferdam"),
        swarm: Some(SwarmInfo {
            node_id: text(""),
            node_addr: text(""),
            local_node_state: Some(cofferdam_api::models::LocalNodeState::INACTIVE),
            control_available: Some(false),
            error: text(""),
            ..SwarmInfo::default()
        }),
        live_restore_enabled: Some(true),
        isolation: Some(match engine.config.default_isolation {
            Isolation::Process => SystemInfoIsolationEnum::PROCESS,
            Isolation::Hyperv => SystemInfoIsolationEnum::HYPERV,
        }),
        init_binary: text(&engine.pieces.oci.to_string_lossy()),
        containerd_commit: commit(),
        runc_commit: commit(),
        init_commit: commit(),
        security_options: Some(vec!["name=seccomp,profile=builtin".to_owned(), "name=cgroupns".to_owned()]),
        default_address_pools: engine.network.bridge.as_ref().map(|bridge| {
            let size = Some(i64::from(bridge.prefix));
            vec![SystemInfoDefaultAddressPools { base: Some(bridge.subnet()), size }]
        }),
        firewall_backend: Some(FirewallInfo { driver: text("nftables"), info: None }),
        warnings: Some(warnings(engine)),
        ..SystemInfo::default()
    }
}

/// What a user should know, one sentence each.
fn warnings(engine: &Engine) -> Vec<String> {
    let mut warnings = Vec::new();
    if !engine.network.warning.is_empty() {
        warnings.push(format!("WARNING: {}", engine.network.warning));
    }
    let offers = containers::host_offers();
    for (has, what) in [
        (offers.memory, "memory limit"),
        (offers.swap, "swap limit"),
        (offers.cpu_quota, "cpu cfs quota"),
        (offers.cpu_shares, "cpu shares"),
        (offers.cpuset, "cpuset"),
        (offers.pids, "pids limit"),
    ] {
        if !has {
            warnings.push(format!("WARNING: No {what} support"));
        }
    }
    if let Err(error) = engine.vm.require() {
        warnings.push(format!("WARNING: {}", error.message));
    }
    warnings
}

fn extension(engine: &Engine) -> InfoExtension {
    let accelerator = engine.vm.accelerator_now();
    let guest = engine.vm.guest();
    InfoExtension {
        instance: engine.instance.to_string(),
        default_isolation: engine.config.default_isolation.to_string(),
        hypervisor: engine.vm.hypervisor(),
        accelerator: accelerator.as_ref().map_or("", |found| found.name()).to_owned(),
        accelerator_reason: accelerator.map_or("the KVM probe is running".to_owned(), |found| found.reason),
        guest_kernel: guest
            .map(|guest| match guest.release.is_empty() {
                true => guest.kernel.display().to_string(),
                false => guest.release.clone(),
            })
            .unwrap_or_default(),
        hyperv_unavailable: engine.vm.require().err().map(|error| error.message).unwrap_or_default(),
        network_warning: engine.network.warning.clone(),
    }
}

fn registries(engine: &Engine) -> RegistryServiceConfig {
    let insecure = &engine.config.insecure_registries;
    let is_subnet = |text: &&String| text.contains('/');
    let index = |name: &str, official: bool, secure: bool| {
        let info = IndexInfo {
            name: Some(name.to_owned()),
            mirrors: Some(Vec::new()),
            secure: Some(secure),
            official: Some(official),
        };
        (name.to_owned(), info)
    };
    let indexes = insecure.iter().filter(|text| !is_subnet(text)).map(|name| index(name, false, false));
    let subnets = ["127.0.0.0/8", "::1/128"].map(str::to_owned).into_iter();
    RegistryServiceConfig {
        insecure_registry_cidrs: Some(subnets.chain(insecure.iter().filter(is_subnet).cloned()).collect()),
        index_configs: Some(indexes.chain([index("docker.io", true, true)]).collect()),
        mirrors: None,
    }
}

/// A small file's text without its last newline; empty when it cannot be read.
fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// A value of os-release(5).
fn os_release(key: &str) -> Option<String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

async fn auth() -> ApiError {
    ApiError::not_implemented(
        "login",
        "the issue on the whole Docker API; credentials in the client's config.json are used by pull",
    )
}
