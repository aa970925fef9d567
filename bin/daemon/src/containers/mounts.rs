//! What a client asks to be mounted: `-v`, `--mount` and `--tmpfs`, checked and made uniform.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::config::{HostConfig, KeySet, Mount};

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// What it is.
    pub kind: MountKind,
    /// On the host; empty for tmpfs and anonymous volumes, whose place follows from the container.
    pub source: String,
    /// In the container, absolute, without `..`.
    pub destination: String,
    /// The options as the client wrote them (`ro,z`); for tmpfs those of mount(8).
    pub mode: String,
    /// Whether it can be written.
    pub writable: bool,
    /// `rprivate`, …
    pub propagation: String,
    /// Whether mounts below the source come along.
    pub recursive: bool,
    /// Whether a missing source becomes a directory, as `-v` has it.
    pub create_source: bool,
}

/// What a mount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A file or directory of the host.
    Bind,
    /// Memory, asked for by `--mount`.
    Tmpfs,
    /// Memory, asked for by `--tmpfs`; `inspect` shows it elsewhere.
    TmpfsOption,
    /// A directory of the container's own, which its image declares as a volume.
    Anonymous,
}

/// A mount that cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMount {
    /// The request is wrong, in Docker's words.
    #[error("{0}")]
    Wrong(String),
    /// It is Docker's but not ours yet.
    #[error("{0}")]
    Later(&'static str),
}

fn wrong(text: impl Into<String>) -> InvalidMount {
    InvalidMount::Wrong(text.into())
}

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// All mounts of a container, ordered so that a parent comes before what is below it.
pub fn collect(
    host: &HostConfig,
    image_volumes: &KeySet,
    own_volumes: &KeySet,
) -> Result<Vec<MountPoint>, InvalidMount> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(parse_bind(bind)?);
    }
    for mount in &host.mounts {
        mounts.push(parse_mount(mount)?);
    }
    for (target, options) in &host.tmpfs {
        mounts.push(MountPoint {
            kind: MountKind::TmpfsOption,
            destination: destination(target, target)?,
            mode: options.clone(),
            ..MountPoint::tmpfs()
        });
    }
    let mut seen = BTreeSet::new();
    for mount in &mounts {
        if !seen.insert(mount.destination.clone()) {
            return Err(wrong(format!("Duplicate mount point: {}", mount.destination)));
        }
    }
    for target in image_volumes.keys().chain(own_volumes.keys()) {
        let destination = destination(target, target)?;
        if seen.insert(destination.clone()) {
            mounts.push(MountPoint { kind: MountKind::Anonymous, destination, ..MountPoint::tmpfs() });
        }
    }
    mounts.sort_by_key(|mount| mount.destination.matches('/').count());
    Ok(mounts)
}

impl MountPoint {
    fn tmpfs() -> Self {
        Self {
            kind: MountKind::Tmpfs,
            source: String::new(),
            destination: String::new(),
            mode: String::new(),
            writable: true,
            propagation: String::new(),
            recursive: true,
            create_source: false,
        }
    }

    fn bind(source: &str, destination: String) -> Self {
        Self {
            kind: MountKind::Bind,
            source: clean(source),
            destination,
            propagation: "rprivate".to_owned(),
            ..Self::tmpfs()
        }
    }
}

/// Reads `source:destination[:options]`.
fn parse_bind(text: &str) -> Result<MountPoint, InvalidMount> {
    let invalid = || wrong(format!("invalid volume specification: '{text}'"));
    let mut parts = text.split(':');
    let (source, target, options) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(source), Some(target), options, None) => (source, target, options.unwrap_or_default()),
        (Some(_), None, ..) => return Err(invalid()),
        _ => return Err(invalid()),
    };
    if source.is_empty() || target.is_empty() {
        return Err(invalid());
    }
    if !source.starts_with('/') {
        if source.starts_with('.') || source.contains('/') {
            return Err(wrong(format!(
                "create {source}: \"{source}\" includes invalid characters for a local volume name, only \
                 \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
            )));
        }
        return Err(InvalidMount::Later("named volumes"));
    }
    let mut mount = MountPoint::bind(source, destination(target, text)?);
    mount.create_source = true;
    options.clone_into(&mut mount.mode);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "rw" => mount.writable = true,
            "ro" => mount.writable = false,
            // SELinux labels, and copying into volumes, mean nothing for a bind here.
            "z" | "Z" | "nocopy" | "consistent" | "cached" | "delegated" => {}
            propagation if PROPAGATIONS.contains(&propagation) => {
                propagation.clone_into(&mut mount.propagation)
            }
            _ => return Err(wrong(format!("invalid mode: {options}"))),
        }
    }
    Ok(mount)
}

/// Reads the newer form.
fn parse_mount(mount: &Mount) -> Result<MountPoint, InvalidMount> {
    let failed = |text: &str| wrong(format!("invalid mount config for type \"{}\": {text}", mount.kind));
    if mount.target.is_empty() {
        return Err(failed("field Target must not be empty"));
    }
    let target = destination(&mount.target, &mount.target).map_err(|error| failed(&error.to_string()))?;
    match mount.kind.as_str() {
        "bind" => {
            if mount.source.is_empty() {
                return Err(failed("field Source must not be empty"));
            }
            if !mount.source.starts_with('/') {
                return Err(failed(&format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    mount.source
                )));
            }
            let options = mount.bind_options.clone().unwrap_or_default();
            let mut point = MountPoint::bind(&mount.source, target);
            point.writable = !mount.read_only;
            point.recursive = !options.non_recursive;
            point.create_source = options.create_mountpoint;
            match options.propagation.as_str() {
                "" => {}
                known if PROPAGATIONS.contains(&known) => known.clone_into(&mut point.propagation),
                other => return Err(failed(&format!("invalid propagation mode: {other}"))),
            }
            Ok(point)
        }
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(failed("field Source must not be specified"));
            }
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let mut words = Vec::new();
            if options.size_bytes > 0 {
                words.push(format!("size={}", options.size_bytes));
            }
            if options.mode != 0 {
                words.push(format!("mode={:o}", options.mode));
            }
            if mount.read_only {
                words.push("ro".to_owned());
            }
            let writable = !mount.read_only;
            Ok(MountPoint { destination: target, mode: words.join(","), writable, ..MountPoint::tmpfs() })
        }
        "volume" if mount.source.is_empty() => {
            Ok(MountPoint { kind: MountKind::Anonymous, destination: target, ..MountPoint::tmpfs() })
        }
        "volume" => Err(InvalidMount::Later("named volumes")),
        "image" | "cluster" | "npipe" => Err(InvalidMount::Later("mounts of this type")),
        other => Err(wrong(format!("mount type unknown: \"{other}\""))),
    }
}

/// A place in the container: absolute, not the root itself, cleaned of `.` and `..`.
fn destination(target: &str, whole: &str) -> Result<String, InvalidMount> {
    if !target.starts_with('/') {
        return Err(wrong(format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    let cleaned = clean(target);
    if cleaned == "/" {
        return Err(wrong(format!("invalid volume specification: '{whole}': destination can't be '/'")));
    }
    if cleaned.contains('\0') {
        return Err(wrong("invalid mount path: it contains a NUL byte"));
    }
    Ok(cleaned)
}

/// An absolute path without `.`, `..` and doubled slashes, by its text alone.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Result<MountPoint, String> {
        parse_bind(text).map_err(|error| error.to_string())
    }

    #[test]
    fn binds_read_as_docker_reads_them() {
        let mount = bind("/srv/../data/:/var//lib:ro,rslave").unwrap();
        assert_eq!((mount.source.as_str(), mount.destination.as_str()), ("/data", "/var/lib"));
        assert!(!mount.writable && mount.create_source);
        assert_eq!(mount.propagation, "rslave");
        assert_eq!(bind("/a:/b:wx").unwrap_err(), "invalid mode: wx");
        assert_eq!(
            bind("/a:/").unwrap_err(),
            "invalid volume specification: '/a:/': destination can't be '/'"
        );
        assert!(bind("/a:b").unwrap_err().contains("mount path must be absolute"));
        assert!(bind("./a:/b").unwrap_err().contains("use absolute path"));
        assert_eq!(parse_bind("named:/b"), Err(InvalidMount::Later("named volumes")));
        for bad in ["", "/a", ":/b", "/a:", "/a:/b:ro:x"] {
            assert_eq!(bind(bad).unwrap_err(), format!("invalid volume specification: '{bad}'"));
        }
    }

    #[test]
    fn mounts_are_sorted_and_not_doubled() {
        let host = HostConfig {
            binds: Some(vec!["/x:/a/b".to_owned()]),
            tmpfs: [("/a".to_owned(), "size=1m".to_owned())].into(),
            ..HostConfig::default()
        };
        let volumes: KeySet =
            [("/a".to_owned(), serde_json::json!({})), ("/v".to_owned(), serde_json::json!({}))].into();
        let mounts = collect(&host, &volumes, &KeySet::new()).unwrap();
        let places: Vec<_> = mounts.iter().map(|mount| mount.destination.as_str()).collect();
        assert_eq!(places, ["/a", "/v", "/a/b"]);
        let twice = HostConfig {
            binds: Some(vec!["/x:/a".to_owned(), "/y:/a/".to_owned()]),
            ..HostConfig::default()
        };
        let error = collect(&twice, &KeySet::new(), &KeySet::new()).unwrap_err();
        assert_eq!(error.to_string(), "Duplicate mount point: /a");
    }

    #[test]
    fn the_newer_form() {
        let mount = |kind: &str, source: &str, target: &str| Mount {
            kind: kind.to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            read_only: true,
            ..Mount::default()
        };
        assert!(!parse_mount(&mount("bind", "/a", "/b")).unwrap().writable);
        assert_eq!(parse_mount(&mount("tmpfs", "", "/b")).unwrap().mode, "ro");
        assert_eq!(
            parse_mount(&mount("bind", "", "/b")).unwrap_err().to_string(),
            "invalid mount config for type \"bind\": field Source must not be empty"
        );
        assert_eq!(
            parse_mount(&mount("zfs", "", "/b")).unwrap_err().to_string(),
            "mount type unknown: \"zfs\""
        );
    }
}
