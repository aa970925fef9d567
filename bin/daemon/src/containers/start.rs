//! Starting a container, and taking down what a start has made.
//!
//! ```text
//! leases + state Starting (one transaction)
//!   └─► shim.json ─► shim starts ───────────────┐ (its namespaces, mounts, network)
//!         └─► /etc files, users, config.json ───┴─► Create ─► attach who waits ─► Start ─► state Running
//! ```
//!
//! Whatever fails, everything before it is undone: shim, cgroup, bundle, and (by the actor) the leases.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_model::{ContainerId, Event, Isolation, NetworkSpec, VmSpec, VmStart};
use cofferdam_store::{Leases, StoreError, Wanted};
use cofferdam_sys::cgroup::Cgroup;
use jiff::Timestamp;

use super::actor::to_json;
use super::bundle::{self, DataDirs, Vm};
use super::image;
use super::record::{Record, Status};
use super::shim::{Shim, ShimError};
use super::{Container, limits, logs};
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult, chain};
use crate::{networks, ports, templates, vm};

/// A shim that needs longer than this to make a container, or its guest to boot, has failed.
pub(super) const LONGEST_CREATE: Duration = Duration::from_secs(120);
/// The same for taking it down.
const LONGEST_DELETE: Duration = Duration::from_secs(20);
/// How long processes may take to die after SIGKILL.
const LONGEST_KILL: Duration = Duration::from_secs(5);
/// Why a start failed, and the exit code that Docker gives it.
pub(super) struct StartFailure {
    pub(super) exit_code: i32,
    pub(super) error: ApiError,
}

impl From<ApiError> for StartFailure {
    fn from(error: ApiError) -> Self {
        Self { exit_code: 128, error }
    }
}

/// Starts a container whose status is `starting`; on success it runs and that is recorded.
pub(super) async fn start(
    engine: &Shared,
    container: &Arc<Container>,
    starting: Status,
) -> Result<(Shim, Status), StartFailure> {
    let record = container.record();
    // Rules may have changed since it was made.
    image::permits(engine, &record, record.isolation)?;
    let log = logs::spec(engine, container)?;
    let (files, lower) = image::files(engine, &record).await?;
    container.mark("image");
    let starting = take_ports(engine, container, &record, starting)?;
    let (leases, status) = lease_in_time(engine, container, &record, starting).await?;
    container.mark("leases recorded");
    let vm = match (record.isolation, leases.uid) {
        (Isolation::Hyperv, Some(uid)) => Some(vm_spec(engine, container, &record, uid).await?),
        _ => None,
    };
    let network = network_spec(engine, &record, &status)?;
    let spec = bundle::shim_spec(engine, container, files, network, vm, log);
    let bundle = engine.paths.bundle(&container.id);
    bundle::write_order(&bundle, &spec).map_err(|error| {
        ApiError::internal(format!("cannot make the bundle {}: {error}", bundle.display()))
    })?;

    container.mark("order written");
    let shim = match Shim::spawn(&engine.pieces.shim, &bundle, container.id.as_str()) {
        Ok(shim) => shim,
        Err(error) => {
            take_down(engine, container, None).await;
            return Err(ApiError::from_chain(&error).into());
        }
    };
    container.mark("shim spawned");
    match run(engine, container, &shim, lower, status.clone()).await {
        Ok(status) => Ok((shim, status)),
        Err(failure) => {
            container.close_stdio(true);
            release_ports(engine, container, &status).await;
            take_down(engine, container, Some(shim)).await;
            Err(failure)
        }
    }
}

async fn run(
    engine: &Shared,
    container: &Arc<Container>,
    shim: &Shim,
    lower: Vec<std::path::PathBuf>,
    status: Status,
) -> Result<Status, StartFailure> {
    let record = container.record();
    let networks = status.networks.clone();
    let writing = {
        let (engine, container) = (Arc::clone(engine), Arc::clone(container));
        tokio::task::spawn_blocking(move || bundle::write_rest(&engine, &container, &lower, &networks))
    };
    writing.await.map_err(|error| ApiError::internal(format!("cannot write the bundle: {error}")))??;

    container.mark("bundle written");
    let creating = tokio::time::timeout(LONGEST_CREATE, shim.create(record.config.tty));
    let pid = creating
        .await
        .map_err(|_elapsed| ApiError::internal("the container's shim did not answer in time"))?
        .map_err(|error| refused(&record, &error))?;
    container.open_stdio(shim).await.map_err(|error| ApiError::from_chain(&error))?;
    container.mark("clients attached");
    if !status.ports.is_empty() {
        let (engine, of) = (Arc::clone(engine), status.clone());
        let publishing = tokio::task::spawn_blocking(move || ports::publish(&engine, &of)).await;
        publishing
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(|reason| no_ports(container, &reason))?;
        container.mark("ports published");
    }
    let started_pid = shim.start("").await.map_err(|error| refused(&record, &error))?;
    container.mark("started");

    let mut status = Status {
        state: status.state.apply(Event::Started).map_err(|error| ApiError::from_chain(&error))?,
        pid: if started_pid == 0 { pid } else { started_pid },
        exit_code: 0,
        error: String::new(),
        oom_killed: false,
        ooms: 0,
        started: Some(Timestamp::now()),
        finished: status.finished,
        ..status
    };
    if record.isolation == Isolation::Hyperv || container.is_traced() {
        let info = shim.info().await.map_err(|error| ApiError::from_chain(&error))?;
        container.add_marks(info.marks);
        status.vm = info.vm;
        if info.template_wanted {
            let programs = image::programs(engine, &record);
            templates::want(engine, &engine.paths.bundle(&container.id), programs);
        }
    }
    engine.store.set_state(&container.id, &to_json(&status)).map_err(ApiError::from)?;
    container.mark("state recorded");
    Ok(status)
}

/// Takes the ports of the host that are to lead to the container. The actor gives them back should the start fail.
fn take_ports(
    engine: &Engine,
    container: &Container,
    record: &Record,
    starting: Status,
) -> ApiResult<Status> {
    if record.endpoints.is_empty() || record.config.network_disabled {
        return Ok(starting);
    }
    let wishes = ports::wishes(&record.config, &record.host).map_err(ApiError::bad_request)?;
    let name = |id: &ContainerId| Some(engine.containers.find(id.as_str()).ok()?.name());
    let ports =
        engine.ports.take(&container.id, &wishes, name).map_err(|reason| no_ports(container, &reason))?;
    Ok(Status { ports, ..starting })
}

fn no_ports(container: &Container, reason: &str) -> ApiError {
    let networks = &container.status().networks;
    let network = networks.iter().find(|joined| joined.interface.config.is_default);
    let network = network.map(|joined| joined.network.as_str()).unwrap_or_default();
    let (name, endpoint) = (container.name(), super::inspect::endpoint_id(container, network));
    ApiError::internal(format!(
        "driver failed programming external connectivity on endpoint {name} ({endpoint}): {reason}"
    ))
}

/// [`lease`]; an address that a container holds whose removal clients were told of already is waited for.
async fn lease_in_time(
    engine: &Engine,
    container: &Container,
    record: &Record,
    starting: Status,
) -> ApiResult<(Leases, Status)> {
    let deadline = tokio::time::Instant::now() + LONGEST_DELETE;
    loop {
        match lease(engine, container, record, starting.clone()) {
            Err(LeaseError::Store(StoreError::AddressInUse { holder, .. }))
                if engine.containers.find(&holder).is_err() && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => {
                return result.map_err(|error| match error {
                    LeaseError::Store(error) => error.into(),
                    LeaseError::Network(error) => error,
                });
            }
        }
    }
}

enum LeaseError {
    Network(ApiError),
    Store(StoreError),
}

/// Takes leases and records that the start has begun, in one transaction.
fn lease(
    engine: &Engine,
    container: &Container,
    record: &Record,
    starting: Status,
) -> Result<(Leases, Status), LeaseError> {
    let attachments = networks::attachments(engine, &container.id, record, &starting.networks);
    let attachments = attachments.map_err(LeaseError::Network)?;
    let addresses: Vec<_> = attachments.iter().map(|attachment| attachment.wanted.clone()).collect();
    let uid = (record.isolation == Isolation::Hyperv).then(|| vm::uid_pool(engine));
    let mut status = starting;
    let leases = engine.store.begin_start(&container.id, Wanted { addresses: &addresses, uid }, |leases| {
        let joined = attachments.iter().zip(&leases.addresses).enumerate();
        status.networks = joined.map(|(number, (place, address))| place.joined(number, *address)).collect();
        networks::choose_default(&mut status.networks);
        to_json(&status)
    });
    Ok((leases.map_err(LeaseError::Store)?, status))
}

/// What the shim connects.
fn network_spec(engine: &Engine, record: &Record, status: &Status) -> ApiResult<NetworkSpec> {
    if record.config.network_disabled {
        return Ok(NetworkSpec::None);
    }
    match record.network() {
        "none" => Ok(NetworkSpec::None),
        "host" => Ok(NetworkSpec::Host),
        mode => match mode.strip_prefix("container:") {
            Some(name) => networks::shim_of(engine, name).map(|shim| NetworkSpec::Container { shim }),
            None => Ok(NetworkSpec::Own { interfaces: status.interfaces() }),
        },
    }
}

/// The container's VM, and the blank disk that its own may begin as.
pub(super) async fn vm_spec(
    engine: &Shared,
    container: &Container,
    record: &Record,
    uid: u32,
) -> ApiResult<Vm> {
    let (qemu, guest) = engine.vm.require()?;
    let class = vm::class_of(engine, record.host.memory, limits::cpus_asked(&record.host)).await;
    let start = match record.host.annotations.get(vm::START_ANNOTATION).map(String::as_str) {
        Some("boot") => VmStart::Boot { reason: String::new() },
        _ => templates::start_of(engine, class).await,
    };
    let spec = VmSpec {
        hypervisor: qemu.to_owned(),
        kernel: guest.kernel.clone(),
        initrd: guest.initrd.clone(),
        memory: class.memory,
        cpus: class.cpus,
        kvm: class.kvm,
        uid,
        user: format!("cfd-{}", container.id.short()),
        start,
    };
    Ok(Vm { spec, blank: templates::blank_disk(engine).await? })
}

/// The shim would not: Docker's words, exit code and status.
fn refused(record: &Record, error: &ShimError) -> StartFailure {
    let text = chain(error);
    let about_program = ["executable file not found", "no such file or directory"];
    let message = format!("failed to create task for container: {text}");
    let denied = ["permission denied", "is a directory", "not a directory", "exec format error"];
    let names_program = text.contains(&record.path) || text.contains("exec:");
    let lower = text.to_ascii_lowercase();
    if names_program && about_program.iter().any(|words| lower.contains(words)) {
        StartFailure { exit_code: 127, error: ApiError::bad_request(message) }
    } else if names_program && denied.iter().any(|words| lower.contains(words)) {
        StartFailure { exit_code: 126, error: ApiError::bad_request(message) }
    } else {
        StartFailure { exit_code: 128, error: ApiError::internal(message) }
    }
}

/// Gives the container's ports of the host back. From then on others can have them.
pub(super) async fn release_ports(engine: &Shared, container: &Arc<Container>, status: &Status) {
    if status.ports.is_empty() {
        return;
    }
    let (engine, id, status) = (Arc::clone(engine), container.id.clone(), status.clone());
    if let Err(error) = tokio::task::spawn_blocking(move || ports::release(&engine, &id, &status)).await {
        tracing::error!("taking back published ports failed: {error}");
    }
}

/// Undoes a start, or clears up after an exit: task, shim, cgroup, bundle. Never fails; what cannot be undone is
/// logged, and found again by the next daemon.
pub(super) async fn take_down(engine: &Shared, container: &Arc<Container>, shim: Option<Shim>) {
    let bundle = engine.paths.bundle(&container.id);
    take_down_at(&container.id, bundle, bundle::cgroup(engine, container), shim).await;
}

/// The same for what runs in this bundle and control group; `id` is for the log.
pub(super) async fn take_down_at(id: &ContainerId, bundle: PathBuf, cgroup: String, shim: Option<Shim>) {
    let held = match shim {
        Some(shim) => {
            let deleting = tokio::time::timeout(LONGEST_DELETE, async {
                let deleted = shim.delete("").await;
                shim.shutdown().await;
                deleted
            });
            match deleting.await {
                Ok(Ok(())) => false,
                Ok(Err(error)) => {
                    tracing::debug!(%id, "cannot delete the task: {}", chain(&error));
                    true
                }
                Err(_elapsed) => {
                    tracing::warn!(%id, "the shim does not answer: killing what it holds");
                    true
                }
            }
        }
        None => true,
    };
    let clearing = tokio::task::spawn_blocking(move || {
        if held {
            kill_everything(&bundle, &cgroup);
        }
        remove_directory(&bundle)
    });
    match clearing.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%id, "cannot remove the bundle: {error}"),
        Err(error) => tracing::error!(%id, "clearing up failed: {error}"),
    }
}

/// The process of a bundle's shim, by what it has written there.
pub fn shim_pid(bundle: &std::path::Path) -> Option<i32> {
    std::fs::read_to_string(bundle.join(cofferdam_model::bundle::SHIM_PID)).ok()?.trim().parse().ok()
}

/// Ends a shim that does not answer (or is gone already) and every process of its container. Blocking.
pub fn kill_everything(bundle: &std::path::Path, cgroup: &str) {
    if let Some(pid) = shim_pid(bundle)
        && let Ok(handle) = cofferdam_sys::process::ProcessHandle::open(pid)
        && is_shim_of(pid, bundle)
    {
        let _ = handle.signal(9);
        let _ = handle.wait_ended(Some(LONGEST_KILL));
    }
    match Cgroup::named(cgroup) {
        Ok(cgroup) if cgroup.exists() => {
            if let Err(error) = cgroup.kill(LONGEST_KILL).and_then(|()| cgroup.delete()) {
                tracing::warn!("cannot remove the cgroup {}: {}", cgroup.name(), chain(&error));
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!("cannot look into the cgroup {cgroup}: {}", chain(&error)),
    }
}

/// Whether the process really is this bundle's shim: its PID may have been given to another by now.
fn is_shim_of(pid: i32, bundle: &std::path::Path) -> bool {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let bundle = bundle.as_os_str().as_encoded_bytes();
    words.split(|byte| *byte == 0).any(|word| word == bundle)
}

/// Removes a directory with everything in it; one that is not there is fine. A shim that has just been started, of which
/// nobody knows yet, may write its first file there in this moment.
pub(super) fn remove_directory(path: &std::path::Path) -> std::io::Result<()> {
    let mut tries = 0;
    loop {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty && tries < 20 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
    }
}

/// Makes what a new container keeps: its directory, its writable layer. Blocking.
pub(super) fn make_data(container_root: &std::path::Path, isolation: Isolation) -> ApiResult<()> {
    let failed = |error: std::io::Error| {
        ApiError::internal(format!(
            "cannot make the container's directory {}: {error}",
            container_root.display()
        ))
    };
    let dirs = DataDirs { root: container_root.to_owned() };
    bundle::make_directory(&dirs.root, 0o711).map_err(failed)?;
    match isolation {
        Isolation::Process => {
            bundle::make_directory(&dirs.upper(), 0o755).map_err(failed)?;
            bundle::make_directory(&dirs.work(), 0o700).map_err(failed)
        }
        // Its disk begins with its first start, as what that start is a clone of wants it.
        Isolation::Hyperv => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_the_callers_fault() {
        let record: Record = serde_json::from_value(serde_json::json!({
            "image": "", "created": "2026-01-01T00:00:00Z", "isolation": "process", "path": "foo", "args": [],
            "config": {}, "host": {}, "mounts": [], "endpoints": []
        }))
        .unwrap();
        let code = |text: &str| {
            let failure = refused(&record, &ShimError::Refused(text.to_owned()));
            (failure.exit_code, failure.error.status.as_u16())
        };
        assert_eq!(code("exec: \"foo\": executable file not found in $PATH"), (127, 400));
        assert_eq!(code("exec: \"foo\": permission denied"), (126, 400));
        assert_eq!(code("cannot mount"), (128, 500));
    }
}
