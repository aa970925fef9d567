//! What a start writes: the shim's order (`shim.json`), the OCI specification (`config.json`), and the engine's files
//! for `/etc`.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cofferdam_model::{
    ChangedFile, Isolation, LogSpec, NetworkSpec, RootfsSpec, ShimSpec, VmSpec, VolumePart, bundle,
};

use super::etc_files::{self, Dns};
use super::image::Files;
use super::layers::Layers;
use super::mounts::{MountKind, MountPoint};
use super::record::{Joined, Record, Status};
use super::spec::devices::{self, DeviceNode};
use super::spec::{self, EtcFiles, HostFacts};
use super::{Container, limits, users, volumes};
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult, chain};
use crate::networks;

/// The directories of a container's own data.
pub struct DataDirs {
    /// `<data-root>/containers/<id>`
    pub root: PathBuf,
}

impl DataDirs {
    /// Of this container.
    pub fn of(engine: &Engine, container: &Container) -> Self {
        Self { root: engine.paths.container(&container.id) }
    }

    /// The overlay's writable directory.
    pub fn upper(&self) -> PathBuf {
        self.root.join("upper")
    }

    /// The overlay's work directory.
    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The hyperv level's writable disk.
    pub fn disk(&self) -> PathBuf {
        self.root.join("rw.ext4")
    }

    /// The engine's files for `/etc`.
    pub fn etc(&self) -> EtcFiles {
        EtcFiles {
            hostname: self.root.join("hostname"),
            hosts: self.root.join("hosts"),
            resolv_conf: self.root.join("resolv.conf"),
        }
    }
}

/// Makes a directory that only root enters; one that exists is fine.
pub fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// A container's utility VM.
pub struct Vm {
    /// The VM.
    pub spec: VmSpec,
    /// What its writable disk begins as, unless its template knows better.
    pub blank: PathBuf,
}

/// What the shim is told.
pub fn shim_spec(
    engine: &Engine,
    container: &Container,
    files: Files,
    network: NetworkSpec,
    vm: Option<Vm>,
    log: LogSpec,
) -> ShimSpec {
    let record = container.record();
    let dirs = DataDirs::of(engine, container);
    let (vm, blank) = match vm {
        Some(vm) => (Some(vm.spec), vm.blank),
        None => (None, PathBuf::new()),
    };
    ShimSpec {
        id: container.id.clone(),
        instance: engine.instance.clone(),
        isolation: record.isolation,
        log,
        rootfs: match files {
            Files::Layers(lower) => RootfsSpec::Overlay { lower, upper: dirs.upper(), work: dirs.work() },
            Files::Erofs(image) => RootfsSpec::Disks { image, writable: dirs.disk(), blank },
        },
        network,
        vm,
        oci_helper: engine.pieces.oci.clone(),
        parts: parts(&record.mounts),
        open_stdin: record.config.open_stdin,
        stdin_once: record.config.stdin_once,
        discard: record.host.auto_remove,
        terminal: record.config.tty,
    }
}

/// The parts of volumes that a container mounts, which its shim finds safely.
fn parts(mounts: &[MountPoint]) -> Vec<VolumePart> {
    let parts = mounts.iter().filter(|mount| !mount.subpath.is_empty());
    parts
        .map(|mount| VolumePart { volume: mount.source.clone().into(), path: mount.subpath.clone().into() })
        .collect()
}

/// Where the shim has them, by their places in the container.
fn parts_in(bundle: &Path, mounts: &[MountPoint]) -> BTreeMap<String, String> {
    let parts = mounts.iter().filter(|mount| !mount.subpath.is_empty()).enumerate();
    let place =
        |index: usize| bundle.join(bundle::PARTS).join(index.to_string()).to_string_lossy().into_owned();
    parts.map(|(index, mount)| (mount.destination.clone(), place(index))).collect()
}

/// Makes the bundle directory with the shim's order, which must be there before the shim is.
pub fn write_order(bundle: &Path, spec: &ShimSpec) -> io::Result<()> {
    // What a crash left behind must not be mistaken for ours.
    super::start::remove_directory(bundle)?;
    std::fs::DirBuilder::new().mode(0o711).create(bundle)?;
    make_directory(&bundle.join(bundle::ROOTFS), 0o755)?;
    std::fs::write(bundle.join(bundle::SHIM_SPEC), serde_json::to_vec(spec)?)
}

/// Everything else that a container needs before it is made. Blocking; runs while the shim starts.
pub fn write_rest(
    engine: &Engine,
    container: &Container,
    lower: &[PathBuf],
    networks: &[Joined],
) -> ApiResult<()> {
    let (bundle, cgroup) = (engine.paths.bundle(&container.id), cgroup(engine, container));
    write_for(
        engine,
        &container.record(),
        &DataDirs::of(engine, container),
        &bundle,
        &cgroup,
        lower,
        networks,
    )
}

/// The same for any bundle and control group.
pub fn write_for(
    engine: &Engine,
    record: &Record,
    dirs: &DataDirs,
    bundle: &Path,
    cgroup: &str,
    lower: &[PathBuf],
    networks: &[Joined],
) -> ApiResult<()> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| ApiError::internal(format!("{what}: {error}"))
    };

    write_etc(engine, record, dirs, networks)?.map_err(failed("cannot write the container's /etc files"))?;
    make_bind_sources(&record.mounts)?;

    let upper = dirs.upper();
    let mut layers: Vec<&Path> = Vec::with_capacity(lower.len() + 1);
    if record.isolation == Isolation::Process {
        layers.push(&upper);
    }
    layers.extend(lower.iter().map(PathBuf::as_path));
    let layers = Layers::open(layers).map_err(failed("cannot open the container's layers"))?;
    let groups = record.host.group_add.clone().unwrap_or_default();
    let user = users::resolve(&layers, &record.config.user, &groups)
        .map_err(failed("cannot read the container's users"))?
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    for point in record.mounts.iter().filter(|mount| mount.kind == MountKind::Anonymous) {
        volumes::fill(&layers, &dirs.root, &point.destination)
            .map_err(failed(&format!("cannot make the volume {}", point.destination)))?;
    }

    let nodes = device_nodes(record)?;
    let init = init_program(engine, record).map_err(failed("cannot write the init program"))?;
    let input = spec::Input {
        record,
        user: &user,
        data: &dirs.root,
        etc: &dirs.etc(),
        init: init.as_deref(),
        parts: &parts_in(bundle, &record.mounts),
        devices: &nodes,
        cgroup,
        disks: limits::on_host(&record.host).map_err(ApiError::bad_request)?,
        host: HostFacts::below(record.isolation),
    };
    let config = spec::build(&input).map_err(|error| ApiError::bad_request(chain(&error)))?;
    std::fs::write(bundle.join(cofferdam_model::bundle::OCI_SPEC), config.to_string())
        .map_err(failed("cannot write the container's specification"))
}

/// The container's cgroup.
pub fn cgroup(engine: &Engine, container: &Container) -> String {
    format!("{}/{}", engine.instance.cgroup_parent(), container.id)
}

/// Writes the engine's files for `/etc`. In another container's network they are that one's, but for the name.
fn write_etc(
    engine: &Engine,
    record: &Record,
    dirs: &DataDirs,
    networks: &[Joined],
) -> ApiResult<io::Result<()>> {
    let etc = dirs.etc();
    let write = |texts: Etc| {
        write_readable(&etc.hostname, &texts.hostname)?;
        write_readable(&etc.hosts, &texts.hosts)?;
        write_readable(&etc.resolv_conf, &texts.resolv_conf)
    };
    if let Some(name) = record.network().strip_prefix("container:") {
        let theirs = DataDirs::of(engine, &*engine.containers.find(name)?).etc();
        let copy = |path: &Path| std::fs::read_to_string(path);
        let texts = || {
            Ok(Etc {
                hostname: copy(&theirs.hostname)?,
                hosts: copy(&theirs.hosts)?,
                resolv_conf: copy(&theirs.resolv_conf)?,
            })
        };
        return Ok(texts().and_then(write));
    }
    let links = networks::links::hosts(engine, record)?;
    Ok(write(etc_texts(engine, record, networks, &links)))
}

/// What is in the engine's files for `/etc`.
struct Etc {
    hostname: String,
    hosts: String,
    resolv_conf: String,
}

fn etc_texts(engine: &Engine, record: &Record, networks: &[Joined], links: &[(String, IpAddr)]) -> Etc {
    let isolated = record.network() != "host";
    let host_file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let strings = |list: &[std::net::IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (servers, search) = (strings(&engine.config.dns), engine.config.dns_search.clone());
    let dns = Dns {
        servers: if record.host.dns.is_empty() { &servers } else { &record.host.dns },
        search: if record.host.dns_search.is_empty() { &search } else { &record.host.dns_search },
        options: &record.host.dns_options,
    };
    let gateway = engine.network.bridge.as_ref().map(|bridge| bridge.gateway);
    let extra = record.host.extra_hosts.iter().flatten();
    let mut extra: Vec<_> = extra.filter_map(|text| etc_files::extra_host(text, gateway)).collect();
    extra.extend(links.iter().map(|(names, address)| (names.clone(), address.to_string())));
    let addresses: Vec<IpAddr> = networks
        .iter()
        .map(|joined| &joined.interface.config)
        .flat_map(|config| {
            let ipv6 = config.ipv6.map(|ipv6| IpAddr::from(ipv6.address));
            std::iter::once(IpAddr::from(config.address)).chain(ipv6)
        })
        .collect();
    let hosts = if isolated {
        etc_files::hosts(&record.config.hostname, &record.config.domainname, &addresses, &extra)
    } else {
        let mut hosts = host_file("/etc/hosts");
        for (name, address) in extra {
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        hosts
    };
    let resolver = networks::resolver(engine, record).map(|address| address.to_string());
    let resolv_conf = match &resolver {
        Some(resolver) => etc_files::resolv_conf_of_network(&host_file("/etc/resolv.conf"), dns, resolver),
        None => etc_files::resolv_conf(&host_file("/etc/resolv.conf"), dns, isolated),
    };
    Etc { hostname: etc_files::hostname(&record.config.hostname), hosts, resolv_conf }
}

/// Changes the engine's files for `/etc` of a running container whose networks change, unless it has changed them itself;
/// says which, for a guest that has its own.
pub fn changed_etc(
    engine: &Engine,
    container: &Container,
    from: (&Record, &Status),
    to: (&Record, &Status),
) -> ApiResult<Vec<ChangedFile>> {
    // Those whose links have ended meanwhile keep what they have.
    let links = networks::links::hosts(engine, from.0).unwrap_or_default();
    let before = etc_texts(engine, from.0, &from.1.networks, &links);
    let after = etc_texts(engine, to.0, &to.1.networks, &links);
    let etc = DataDirs::of(engine, container).etc();
    let mut changed = Vec::new();
    for (path, before, text) in
        [(etc.hosts, before.hosts, after.hosts), (etc.resolv_conf, before.resolv_conf, after.resolv_conf)]
    {
        if before == text {
            continue;
        }
        let failed = |error: io::Error| ApiError::internal(format!("{}: {error}", path.display()));
        if std::fs::read(&path).map_err(failed)? == before.as_bytes() {
            // In place: it is mounted.
            std::fs::write(&path, &text).map_err(failed)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        changed.push(ChangedFile { name, before, text });
    }
    Ok(changed)
}

fn write_readable(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

/// Sources that may be made are; the others must be there.
fn make_bind_sources(mounts: &[MountPoint]) -> ApiResult<()> {
    for mount in mounts.iter().filter(|mount| mount.kind == MountKind::Bind) {
        let source = Path::new(&mount.source);
        match source.symlink_metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && mount.create_source => {
                std::fs::create_dir_all(source).map_err(|error| {
                    ApiError::internal(format!(
                        "error while creating mount source path '{}': {error}",
                        mount.source
                    ))
                })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ApiError::bad_request(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    mount.source
                )));
            }
            Err(error) => {
                return Err(ApiError::bad_request(format!(
                    "cannot use the bind source path {}: {error}",
                    mount.source
                )));
            }
        }
    }
    Ok(())
}

fn device_nodes(record: &Record) -> ApiResult<Vec<DeviceNode>> {
    let mut nodes = Vec::new();
    if record.isolation == Isolation::Hyperv {
        return Ok(nodes);
    }
    if record.host.privileged {
        nodes = devices::all_of_host();
    }
    for mapping in &record.host.devices {
        nodes.extend(devices::from_host(mapping).map_err(|error| {
            ApiError::internal(format!(
                "error gathering device information while adding custom device \"{}\": {error}",
                mapping.path_on_host
            ))
        })?);
    }
    Ok(nodes)
}

/// The program for `--init`: one file for all containers, written when it is first asked for.
fn init_program(engine: &Engine, record: &Record) -> io::Result<Option<PathBuf>> {
    if record.host.init != Some(true) {
        return Ok(None);
    }
    let path = engine.paths.exec_root.join("docker-init");
    if std::fs::metadata(&path).is_ok_and(|found| found.len() == cofferdam_init::PROGRAM.len() as u64) {
        return Ok(Some(path));
    }
    let scratch = engine.paths.exec_root.join(format!("docker-init.{}", cofferdam_model::random_hex(4)));
    std::fs::write(&scratch, cofferdam_init::PROGRAM)?;
    std::fs::set_permissions(&scratch, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&scratch, &path)?;
    Ok(Some(path))
}
