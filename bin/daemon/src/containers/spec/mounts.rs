//! `mounts` of the OCI specification: the kernel's file systems, the engine's files, the user's mounts.

use std::path::Path;

use serde_json::{Value, json};

use super::Input;
use crate::containers::mounts::{MountKind, MountPoint};

/// Bytes of `/dev/shm` when nothing is said.
const SHM_SIZE: i64 = 64 << 20;

/// Paths of the engine's own files in a container, in the order of [`super::EtcFiles`].
const ETC: [&str; 3] = ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"];

/// All mounts, in the order in which they are made.
pub fn mounts(input: &Input<'_>) -> Vec<Value> {
    let host = &input.record.host;
    let taken = |place: &str| input.record.mounts.iter().any(|mount| mount.destination == place);
    let writable = if host.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", writable]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[writable, "nosuid", "noexec", "nodev", "relatime"]),
    ];
    let shared_with_host = host.ipc_mode == "host";
    if shared_with_host {
        mounts.push(mount("/dev/mqueue", "bind", "/dev/mqueue", &["rbind", "nosuid", "noexec", "nodev"]));
    } else {
        mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    }
    if shared_with_host {
        mounts.push(mount("/dev/shm", "bind", "/dev/shm", &["rbind", "nosuid", "noexec", "nodev"]));
    } else if host.ipc_mode != "none" && !taken("/dev/shm") {
        let size = format!("size={}", if host.shm_size > 0 { host.shm_size } else { SHM_SIZE });
        mounts.push(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
    }
    // What the user mounts on these replaces ours.
    mounts.retain(|entry| entry["destination"].as_str().is_none_or(|place| place == "/dev" || !taken(place)));

    // Shallow places first; at the same depth the user's order stands.
    let (first, later): (Vec<_>, Vec<_>) =
        input.record.mounts.iter().partition(|mount| mount.destination.matches('/').count() <= 1);
    mounts.extend(first.into_iter().map(|point| user_mount(point, input)));
    let files = [&input.etc.resolv_conf, &input.etc.hostname, &input.etc.hosts];
    for (place, file) in ETC.into_iter().zip(files) {
        if !taken(place) {
            let writable = if host.readonly_rootfs { "ro" } else { "rw" };
            mounts.push(mount(place, "bind", &file.to_string_lossy(), &["rbind", writable, "rprivate"]));
        }
    }
    mounts.extend(later.into_iter().map(|point| user_mount(point, input)));
    if let Some(init) = input.init {
        mounts.push(mount(super::INIT, "bind", &init.to_string_lossy(), &["bind", "ro", "rprivate"]));
    }
    mounts
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": kind, "source": source, "options": options})
}

fn user_mount(point: &MountPoint, input: &Input<'_>) -> Value {
    match point.kind {
        MountKind::Bind => {
            let bind = if point.recursive { "rbind" } else { "bind" };
            let access = if point.writable { "rw" } else { "ro" };
            mount(&point.destination, "bind", &point.source, &[bind, access, &point.propagation])
        }
        MountKind::Volume => {
            let access = if point.writable { "rw" } else { "ro" };
            let source = input.parts.get(&point.destination).unwrap_or(&point.source);
            mount(&point.destination, "bind", source, &["rbind", access, "rprivate"])
        }
        MountKind::Anonymous => {
            let source = anonymous_source(input.data, &point.destination);
            mount(&point.destination, "bind", &source.to_string_lossy(), &["rbind", "rw", "rprivate"])
        }
        MountKind::Tmpfs | MountKind::TmpfsOption => {
            let options = tmpfs_options(&point.mode);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            mount(&point.destination, "tmpfs", "tmpfs", &options)
        }
    }
}

/// Where an anonymous volume's content is: a directory of the container's own, named after its place.
#[must_use]
pub fn anonymous_source(data: &Path, destination: &str) -> std::path::PathBuf {
    let name: String = destination.trim_start_matches('/').replace('%', "%25").replace('/', "%2f");
    data.join("volumes").join(name)
}

/// Docker's default options of a tmpfs, each replaced by what contradicts it.
fn tmpfs_options(given: &str) -> Vec<String> {
    let given: Vec<&str> = given.split(',').filter(|option| !option.is_empty()).collect();
    let defaults = [("noexec", "exec"), ("nosuid", "suid"), ("nodev", "dev")];
    let kept = defaults
        .into_iter()
        .filter(|(default, opposite)| !given.contains(opposite) && !given.contains(default));
    let mut options: Vec<String> = kept.map(|(default, _)| default.to_owned()).collect();
    options.extend(given.into_iter().map(str::to_owned));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_defaults_give_way() {
        assert_eq!(tmpfs_options("rw,exec,size=64m"), ["nosuid", "nodev", "rw", "exec", "size=64m"]);
        assert_eq!(tmpfs_options(""), ["noexec", "nosuid", "nodev"]);
    }

    #[test]
    fn anonymous_volumes_never_share_a_directory() {
        let data = Path::new("/d");
        assert_ne!(anonymous_source(data, "/a/b"), anonymous_source(data, "/a%2fb"));
        assert_eq!(anonymous_source(data, "/a/b"), Path::new("/d/volumes/a%2fb"));
    }
}
