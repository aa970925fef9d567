//! What happens while the shim has one thread: its namespaces, the root file system, the network.
//!
//! Everything made here belongs to namespaces that only this container's processes are in: the kernel undoes it when
//! the last of them ends, however it ends.

use std::os::fd::OwnedFd;
use std::path::Path;

use cofferdam_model::{Isolation, NetworkSpec, RootfsSpec, ShimSpec, VolumePart, bundle};
use cofferdam_net::{HostLink, NetError, Wiring};
use cofferdam_sys::mount::{self, Overlay};
use cofferdam_sys::namespace::{self, Namespace};

/// What comes of it.
#[derive(Default)]
pub struct Setup {
    /// The VM's network device, at the hyperv level.
    pub tap: Option<OwnedFd>,
    /// The container's interfaces, which can change while it runs; not in networks that are somebody else's.
    pub wiring: Option<Wiring>,
}

/// Does all of it; on failure says what failed, for the answer to `Create`.
pub fn run(spec: &ShimSpec, directory: &Path) -> Result<Setup, String> {
    let host = match &spec.network {
        NetworkSpec::Own { .. } => Some(HostLink::open().map_err(|error| error.to_string())?),
        _ => None,
    };
    let mut kinds = vec![Namespace::Mount];
    match &spec.network {
        NetworkSpec::Host => {}
        NetworkSpec::Container { shim } => join_network(*shim)?,
        NetworkSpec::Own { .. } | NetworkSpec::None => kinds.push(Namespace::Network),
    }
    namespace::unshare(&kinds).map_err(|error| format!("unshare namespaces: {error}"))?;
    mount::make_everything_slave().map_err(|error| format!("mount propagation: {error}"))?;
    mount_parts(&spec.parts, &directory.join(bundle::PARTS))?;
    mount_rootfs(&spec.rootfs, &directory.join(bundle::ROOTFS))?;
    connect(spec, host).map_err(|error| network_failed(&error))
}

/// Joins the network namespace of another container's shim.
fn join_network(shim: i32) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot join the other container's network: {error}");
    let namespace = namespace::of_process(shim, Namespace::Network).map_err(failed)?;
    namespace::join(&namespace, Namespace::Network).map_err(failed)
}

/// The same for a VM without a container: namespaces, and a network device that leads nowhere.
pub fn run_without_container() -> Result<OwnedFd, String> {
    namespace::unshare(&[Namespace::Mount, Namespace::Network])
        .map_err(|error| format!("unshare namespaces: {error}"))?;
    mount::make_everything_slave().map_err(|error| format!("mount propagation: {error}"))?;
    cofferdam_net::tap_to_nowhere().map_err(|error| network_failed(&error))
}

/// What failed, why, and what a user can do about it.
pub fn network_failed(error: &NetError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("network: {words}{hint}")
}

/// Binds the parts of volumes that are asked for. Their paths are found below the volume only, and without links: other
/// containers may write there at this moment.
fn mount_parts(parts: &[VolumePart], directory: &Path) -> Result<(), String> {
    for (index, part) in parts.iter().enumerate() {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!(
                    "cannot access path {}: no such file or directory",
                    part.volume.join(&part.path).display()
                )
            }
            _ => format!("volume subpath {}: {error}", part.path.display()),
        };
        mount::bind_beneath(&part.volume, &part.path, directory, &index.to_string()).map_err(failed)?;
    }
    Ok(())
}

fn mount_rootfs(rootfs: &RootfsSpec, target: &Path) -> Result<(), String> {
    let RootfsSpec::Overlay { lower, upper, work } = rootfs else { return Ok(()) };
    let failed = |error: std::io::Error| format!("root file system {}: {error}", target.display());
    std::fs::create_dir_all(target).map_err(failed)?;
    Overlay { lower, upper, work }.mount(target).map_err(failed)
}

fn connect(spec: &ShimSpec, host: Option<HostLink>) -> Result<Setup, NetError> {
    let for_vm = spec.isolation == Isolation::Hyperv;
    match (&spec.network, host) {
        (NetworkSpec::Own { interfaces }, Some(host)) => {
            let (mut wiring, tap) = if for_vm {
                let (wiring, tap) = Wiring::for_vm(host)?;
                (wiring, Some(tap))
            } else {
                (Wiring::for_processes(host)?, None)
            };
            wiring.set(interfaces)?;
            Ok(Setup { tap, wiring: Some(wiring) })
        }
        (NetworkSpec::Host | NetworkSpec::Container { .. }, _) => Ok(Setup::default()),
        _ if for_vm => Ok(Setup { tap: Some(cofferdam_net::tap_to_nowhere()?), wiring: None }),
        _ => cofferdam_net::loopback_up().map(|()| Setup::default()),
    }
}
