//! Capabilities: Docker's default set, `--cap-add`, `--cap-drop`, `--privileged`, and what the host can give at all.

/// All capabilities, in the kernel's order: the position is the number (capabilities(7)).
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a container has when nothing is said.
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// A set of capabilities that a process may hold at most: its bounding set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounding(u64);

impl Bounding {
    /// Nothing is held back: a guest kernel of our own.
    pub const FULL: Self = Self(u64::MAX);

    /// Reads the line `CapBnd:` of a `/proc/<pid>/status`.
    #[must_use]
    pub fn from_status(status: &str) -> Self {
        let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        Self(line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX))
    }

    fn has(self, name: &str) -> bool {
        ALL.iter().position(|known| *known == name).is_some_and(|number| self.0 >> number & 1 == 1)
    }
}

/// No such capability, in Docker's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid capability: unknown capability: {0:?}")]
pub struct UnknownCapability(String);

/// Checks and completes names (`net_admin` becomes `CAP_NET_ADMIN`; `ALL` stays).
fn normalise(names: &[String]) -> Result<Vec<String>, UnknownCapability> {
    let complete = |name: &String| {
        let upper = name.to_ascii_uppercase();
        if upper == "ALL" {
            return Ok(upper);
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        if ALL.contains(&full.as_str()) { Ok(full) } else { Err(UnknownCapability(name.clone())) }
    };
    names.iter().map(complete).collect()
}

/// The capabilities of a container, in the kernel's order, within what the host can give.
pub fn effective(
    add: &[String],
    drop: &[String],
    privileged: bool,
    bounding: Bounding,
) -> Result<Vec<&'static str>, UnknownCapability> {
    let (add, drop) = (normalise(add)?, normalise(drop)?);
    let has = |list: &[String], name: &str| list.iter().any(|entry| entry == name);
    let wanted = |name: &str| {
        if privileged {
            return true;
        }
        let base = if has(&add, "ALL") { true } else { !has(&drop, "ALL") && DEFAULT.contains(&name) };
        (base && !has(&drop, name))
            || (has(&add, name) && !has(&drop, name))
            || (has(&add, name) && has(&drop, "ALL"))
    };
    Ok(ALL.into_iter().filter(|name| wanted(name) && bounding.has(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let own = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        effective(&own(add), &own(drop), false, Bounding::FULL).unwrap()
    }

    #[test]
    fn the_default_is_dockers() {
        let mut want = DEFAULT.to_vec();
        want.sort_unstable();
        let mut have = names(&[], &[]);
        have.sort_unstable();
        assert_eq!(have, want);
    }

    #[test]
    fn add_and_drop() {
        assert!(names(&["net_admin"], &[]).contains(&"CAP_NET_ADMIN"));
        assert!(!names(&[], &["CHOWN"]).contains(&"CAP_CHOWN"));
        assert_eq!(names(&["CHOWN"], &["all"]), ["CAP_CHOWN"]);
        assert_eq!(names(&[], &["ALL"]), [] as [&str; 0]);
        let all = names(&["ALL"], &["SYS_ADMIN"]);
        assert!(all.contains(&"CAP_BPF") && !all.contains(&"CAP_SYS_ADMIN"));
        let error = effective(&["FLY".to_owned()], &[], false, Bounding::FULL).unwrap_err();
        assert_eq!(error.to_string(), r#"invalid capability: unknown capability: "FLY""#);
    }

    #[test]
    fn a_host_without_a_capability_gives_none() {
        // Without CAP_SYS_RESOURCE (24).
        let bounding = Bounding::from_status("Name:\tx\nCapBnd:\t000001fffeffffff\n");
        let all = effective(&[], &[], true, bounding).unwrap();
        assert_eq!(all.len(), ALL.len() - 1);
        assert!(!all.contains(&"CAP_SYS_RESOURCE"));
    }
}
