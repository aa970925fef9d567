//! Device nodes of a container, and which devices it may open.

use serde_json::{Value, json};

use crate::containers::config::DeviceMapping;

/// A device node to make in the container, as the host has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// In the container.
    pub path: String,
    /// `'c'` or `'b'`.
    pub kind: char,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Some of `rwm`.
    pub access: String,
}

/// What every container may open: null, zero, full, random, urandom, tty, console, the terminals of its own devpts,
/// and `mknod` (not open) of anything, which `CAP_MKNOD` guards.
const DEFAULT_RULES: [(&str, Option<u32>, Option<u32>, &str); 11] = [
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(5), Some(1), "rwm"),
    ("c", Some(5), Some(2), "rwm"),
    ("c", Some(136), None, "rwm"),
];

/// A device rule that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid device cgroup rule format: '{0}'")]
pub struct InvalidRule(String);

/// `linux.resources.devices`: nothing, then the default, then what was asked for.
pub fn rules(nodes: &[DeviceNode], more: &[String], privileged: bool) -> Result<Value, InvalidRule> {
    if privileged {
        return Ok(json!([{"allow": true, "access": "rwm"}]));
    }
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    rules.extend(DEFAULT_RULES.map(|(kind, major, minor, access)| {
        let mut rule = json!({"allow": true, "type": kind, "access": access});
        if let Some(major) = major {
            rule["major"] = json!(major);
        }
        if let Some(minor) = minor {
            rule["minor"] = json!(minor);
        }
        rule
    }));
    rules.extend(nodes.iter().map(|node| {
        json!({"allow": true, "type": node.kind.to_string(), "major": node.major, "minor": node.minor,
               "access": node.access})
    }));
    for text in more {
        rules.push(parse_rule(text)?);
    }
    Ok(Value::Array(rules))
}

/// Reads `c 189:* rmw`.
fn parse_rule(text: &str) -> Result<Value, InvalidRule> {
    let invalid = || InvalidRule(text.to_owned());
    let [kind, numbers, access] = text.split(' ').collect::<Vec<_>>()[..] else { return Err(invalid()) };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let good_access =
        !access.is_empty() && access.len() <= 3 && access.bytes().all(|byte| b"rwm".contains(&byte));
    if !["a", "b", "c"].contains(&kind) || !good_access {
        return Err(invalid());
    }
    let mut rule = json!({"allow": true, "type": kind, "access": access});
    for (key, number) in [("major", major), ("minor", minor)] {
        if number != "*" {
            rule[key] = json!(number.parse::<u32>().map_err(|_unreadable| invalid())?);
        }
    }
    Ok(rule)
}

/// Checks device rules before a container is made.
pub fn check_rules(more: &[String]) -> Result<(), InvalidRule> {
    more.iter().try_for_each(|text| parse_rule(text).map(drop))
}

/// `linux.devices` for the nodes.
#[must_use]
pub fn nodes(nodes: &[DeviceNode]) -> Value {
    let node = |node: &DeviceNode| {
        json!({"path": node.path, "type": node.kind.to_string(), "major": node.major, "minor": node.minor,
               "fileMode": node.mode, "uid": node.uid, "gid": node.gid})
    };
    nodes.iter().map(node).collect()
}

/// The host's device nodes for `--device`: one node, or all below a directory.
pub fn from_host(mapping: &DeviceMapping) -> std::io::Result<Vec<DeviceNode>> {
    let access = if mapping.cgroup_permissions.is_empty() { "rwm" } else { &mapping.cgroup_permissions };
    let target =
        if mapping.path_in_container.is_empty() { &mapping.path_on_host } else { &mapping.path_in_container };
    let mut found = Vec::new();
    collect(std::path::Path::new(&mapping.path_on_host), target, access, &mut found)?;
    if found.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a device node"));
    }
    Ok(found)
}

/// All device nodes of the host, for `--privileged`. What cannot be read is not there.
#[must_use]
pub fn all_of_host() -> Vec<DeviceNode> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/dev").into_iter().flatten().flatten() {
        let name = entry.file_name();
        // Terminals, shared memory and message queues are the container's own.
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if !is_link && !["pts", "shm", "mqueue", "console", "ptmx"].iter().any(|own| name == *own) {
            let path = entry.path();
            let _ = collect(&path, &path.to_string_lossy(), "rwm", &mut found);
        }
    }
    found
}

fn collect(
    path: &std::path::Path,
    target: &str,
    access: &str,
    found: &mut Vec<DeviceNode>,
) -> std::io::Result<()> {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let metadata = std::fs::metadata(path)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        if path.symlink_metadata()?.is_symlink() {
            return Ok(());
        }
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let below = format!("{target}/{}", entry.file_name().to_string_lossy());
            collect(&entry.path(), &below, access, found)?;
        }
    } else if kind.is_char_device() || kind.is_block_device() {
        found.push(DeviceNode {
            path: target.to_owned(),
            kind: if kind.is_char_device() { 'c' } else { 'b' },
            major: rustix::fs::major(metadata.rdev()),
            minor: rustix::fs::minor(metadata.rdev()),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            access: access.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_docker_writes_them() {
        assert_eq!(
            parse_rule("c 189:* rmw").unwrap(),
            json!({"allow": true, "type": "c", "major": 189, "access": "rmw"})
        );
        for bad in ["", "c 1:3", "d 1:3 r", "c 1 r", "c x:3 r", "c 1:3 x", "c 1:3 rwmr"] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_is_denied_first() {
        let rules = rules(&[], &["b 8:0 r".to_owned()], false).unwrap();
        let rules = rules.as_array().unwrap();
        assert_eq!(rules[0], json!({"allow": false, "access": "rwm"}));
        assert_eq!(rules.last().unwrap()["major"], 8);
    }

    #[test]
    fn the_hosts_null_device_is_found() {
        let mapping = DeviceMapping { path_on_host: "/dev/null".to_owned(), ..DeviceMapping::default() };
        let nodes = from_host(&mapping).unwrap();
        assert_eq!((nodes[0].kind, nodes[0].major, nodes[0].minor), ('c', 1, 3));
        let file = DeviceMapping { path_on_host: "/proc/version".to_owned(), ..DeviceMapping::default() };
        assert!(from_host(&file).is_err());
    }
}
