//! What a client asks to be mounted: `-v`, `--mount` and `--tmpfs`, checked and made uniform.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::config::{HostConfig, KeySet, Mount, VolumeOptions};
use crate::volumes::check_name;

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// A volume's name; empty until the volume is made.
    #[serde(default)]
    pub name: String,
    /// Whether nobody chose that name.
    #[serde(default)]
    pub anonymous: bool,
    /// Whether an empty volume begins with what the image has in its place.
    #[serde(default)]
    pub copy: bool,
    /// The part of the volume that is mounted, without `..`; empty for all of it.
    #[serde(default)]
    pub subpath: String,
    /// How the volume is made, should there be none of that name.
    #[serde(skip)]
    pub volume_options: VolumeOptions,
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
    /// A volume.
    Volume,
    /// A directory of the container's own: an anonymous volume of a container that was made before volumes had names.
    Anonymous,
}

/// A mount that cannot be.
#[derive(Debug, PartialEq, thiserror::Error)]
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

/// All mounts of a container, ordered so that a parent comes before what is below it. Those `inherited` from other
/// containers (`--volumes-from`) give way to its own.
pub fn collect(
    host: &HostConfig,
    inherited: Vec<MountPoint>,
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
    // Of several containers' the last one named wins.
    for mount in inherited.into_iter().rev() {
        if seen.insert(mount.destination.clone()) {
            mounts.push(mount);
        }
    }
    for target in image_volumes.keys().chain(own_volumes.keys()) {
        let destination = destination(target, target)?;
        if seen.insert(destination.clone()) {
            mounts.push(MountPoint::volume("", destination));
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
            name: String::new(),
            anonymous: false,
            copy: false,
            subpath: String::new(),
            volume_options: VolumeOptions::default(),
        }
    }

    fn volume(name: &str, destination: String) -> Self {
        Self {
            kind: MountKind::Volume,
            name: name.to_owned(),
            anonymous: name.is_empty(),
            copy: true,
            destination,
            ..Self::tmpfs()
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
    let target = destination(target, text)?;
    let mut mount = if source.starts_with('/') {
        MountPoint { create_source: true, mode: options.to_owned(), ..MountPoint::bind(source, target) }
    } else {
        check_name(source).map_err(InvalidMount::Wrong)?;
        let mode = if options.is_empty() { "z" } else { options };
        MountPoint { mode: mode.to_owned(), ..MountPoint::volume(source, target) }
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "rw" => mount.writable = true,
            "ro" => mount.writable = false,
            "nocopy" => mount.copy = false,
            // SELinux labels mean nothing here.
            "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            propagation if mount.kind == MountKind::Bind && PROPAGATIONS.contains(&propagation) => {
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
        "volume" => {
            if !mount.source.is_empty() {
                check_name(&mount.source).map_err(InvalidMount::Wrong)?;
            }
            let options = mount.volume_options.clone().unwrap_or_default();
            if !options.subpath.is_empty() && mount.source.is_empty() {
                return Err(failed("must not set Subpath when using anonymous volumes"));
            }
            let mut point = MountPoint::volume(&mount.source, target);
            point.writable = !mount.read_only;
            "z".clone_into(&mut point.mode);
            // A part of a volume is what somebody has put there: nothing is copied into it.
            point.copy = !options.no_copy && options.subpath.is_empty();
            point.subpath = subpath(&options.subpath)
                .ok_or_else(|| failed("subpath must be a relative path within the volume"))?;
            point.volume_options = options;
            Ok(point)
        }
        "image" | "cluster" | "npipe" => Err(InvalidMount::Later("mounts of this type")),
        other => Err(wrong(format!("mount type unknown: \"{other}\""))),
    }
}

/// The mounts that a container takes over from another: all but memory, read-only if `mode` says so.
pub fn inherit(from: &[MountPoint], mode: &str) -> Result<Vec<MountPoint>, InvalidMount> {
    let read_only = match mode {
        "" | "rw" | "z" | "Z" => false,
        "ro" => true,
        other => return Err(wrong(format!("invalid mode: {other}"))),
    };
    let lasting = |mount: &&MountPoint| matches!(mount.kind, MountKind::Bind | MountKind::Volume);
    let taken = from.iter().filter(lasting).cloned();
    Ok(taken
        .map(|mount| MountPoint { writable: mount.writable && !read_only, copy: false, ..mount })
        .collect())
}

/// A path below a volume, cleaned; `None` when it would lead out.
fn subpath(text: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" if text.starts_with('/') => return None,
            "" | "." => {}
            ".." => return None,
            part if part.contains('\0') => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
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
        let named = bind("named:/b:ro,nocopy").unwrap();
        assert_eq!(
            (named.kind, named.name.as_str(), named.mode.as_str()),
            (MountKind::Volume, "named", "ro,nocopy")
        );
        assert!(!named.writable && !named.copy && !named.anonymous);
        assert_eq!(bind("named:/b:rshared").unwrap_err(), "invalid mode: rshared");
        assert!(bind("x:/b").unwrap_err().contains("too short"));
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
        let mounts = collect(&host, Vec::new(), &volumes, &KeySet::new()).unwrap();
        let places: Vec<_> = mounts.iter().map(|mount| mount.destination.as_str()).collect();
        assert_eq!(places, ["/a", "/v", "/a/b"]);
        let twice = HostConfig {
            binds: Some(vec!["/x:/a".to_owned(), "/y:/a/".to_owned()]),
            ..HostConfig::default()
        };
        let error = collect(&twice, Vec::new(), &KeySet::new(), &KeySet::new()).unwrap_err();
        assert_eq!(error.to_string(), "Duplicate mount point: /a");
    }

    #[test]
    fn inherited_mounts_give_way() {
        let volume = |destination: &str| MountPoint::volume("data", destination.to_owned());
        let from = inherit(&[volume("/a"), volume("/b"), MountPoint::tmpfs()], "ro").unwrap();
        assert!(from.len() == 2 && from.iter().all(|mount| !mount.writable && !mount.copy));
        assert!(inherit(&[], "x").is_err());
        let host = HostConfig { binds: Some(vec!["/x:/a".to_owned()]), ..HostConfig::default() };
        let mounts = collect(&host, from, &KeySet::new(), &KeySet::new()).unwrap();
        let kinds: Vec<_> = mounts.iter().map(|mount| (mount.destination.as_str(), mount.kind)).collect();
        assert_eq!(kinds, [("/a", MountKind::Bind), ("/b", MountKind::Volume)]);
    }

    #[test]
    fn parts_of_volumes_stay_inside() {
        assert_eq!(subpath("a//b/./c").as_deref(), Some("a/b/c"));
        for bad in ["/a", "../a", "a/../../b", "a\0"] {
            assert_eq!(subpath(bad), None, "{bad}");
        }
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
