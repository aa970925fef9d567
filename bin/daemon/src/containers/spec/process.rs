//! `process` of the OCI specification, for the container's program and for programs executed in it later.

use serde_json::{Value, json};

use super::capabilities::{self, Bounding, UnknownCapability};
use super::resources::rlimits;
use super::{INIT, Input, InvalidSpec, seccomp};
use crate::containers::config::HostConfig;
use crate::containers::record::Record;
use cofferdam_model::DEFAULT_PATH;
use cofferdam_model::user::User;

/// A `--security-opt` that cannot be used, in Docker's words.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSecurity {
    /// Unknown or malformed.
    #[error("invalid --security-opt: {0:?}")]
    Option(String),
    /// A broken profile.
    #[error(transparent)]
    Profile(#[from] seccomp::InvalidProfile),
}

/// What `--security-opt` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Whether no program may gain privileges.
    pub no_new_privileges: bool,
    seccomp: Option<String>,
}

impl Security {
    /// Reads the options. AppArmor profiles and SELinux labels are accepted and change nothing on hosts without.
    pub fn parse(host: &HostConfig) -> Result<Self, InvalidSecurity> {
        let mut security = Self::default();
        for option in host.security_opt.iter().flatten() {
            let invalid = || InvalidSecurity::Option(option.clone());
            let (key, value) = match option.split_once('=') {
                Some(pair) => pair,
                None => option.split_once(':').unwrap_or((option, "")),
            };
            match (key, value) {
                ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
                ("no-new-privileges", "false") => security.no_new_privileges = false,
                ("seccomp", "") => return Err(invalid()),
                ("seccomp", "builtin") => security.seccomp = None,
                ("seccomp", profile) => security.seccomp = Some(profile.to_owned()),
                ("apparmor" | "label" | "systempaths" | "writable-cgroups", value) if !value.is_empty() => {}
                ("disable" | "label", _) => {}
                _ => return Err(invalid()),
            }
        }
        Ok(security)
    }

    /// `linux.seccomp`; `None` is unconfined.
    pub fn seccomp(&self, privileged: bool, capabilities: &[&str]) -> Result<Option<Value>, InvalidSecurity> {
        match self.seccomp.as_deref() {
            Some("unconfined") => Ok(None),
            Some(profile) => Ok(Some(seccomp::custom_profile(profile, capabilities)?)),
            None if privileged => Ok(None),
            None => Ok(Some(seccomp::default_profile(capabilities))),
        }
    }
}

/// The capabilities of a container.
pub fn capabilities(host: &HostConfig, bounding: Bounding) -> Result<Vec<&'static str>, UnknownCapability> {
    let list = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
    capabilities::effective(&list(&host.cap_add), &list(&host.cap_drop), host.privileged, bounding)
}

/// `process` of the container's own program.
pub fn init(input: &Input<'_>, capabilities: &[&str], security: &Security) -> Value {
    let Record { config, host, path, args, .. } = input.record;
    let mut words = Vec::with_capacity(args.len() + 3);
    if input.init.is_some() {
        words.extend([INIT.to_owned(), "--".to_owned()]);
    }
    words.push(path.clone());
    words.extend(args.iter().cloned());
    let mut process = json!({
        "terminal": config.tty,
        "user": user(input.user),
        "args": words,
        "env": environment(input.record, input.user, config.tty, &[]),
        "cwd": cwd(&config.working_dir),
        "capabilities": capability_sets(capabilities),
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
    });
    let ulimits = host.ulimits.as_deref().unwrap_or_default();
    if !ulimits.is_empty() {
        process["rlimits"] = rlimits(ulimits, &input.host.hard);
    }
    if config.tty && host.console_size.iter().all(|side| *side > 0) {
        process["consoleSize"] = json!({"height": host.console_size[0], "width": host.console_size[1]});
    }
    process
}

/// A program to execute in a running container.
pub struct Exec<'a> {
    /// Its words.
    pub args: &'a [String],
    /// Variables beside the container's.
    pub env: &'a [String],
    /// Its directory; empty for the container's.
    pub working_dir: &'a str,
    /// Who runs it.
    pub user: &'a User,
    /// Whether it has a TTY.
    pub tty: bool,
    /// Whether it holds every capability.
    pub privileged: bool,
}

/// `process` of an exec.
pub fn exec(record: &Record, exec: &Exec<'_>, host: &super::HostFacts) -> Result<Value, InvalidSpec> {
    let security = Security::parse(&record.host)?;
    let mut config = record.host.clone();
    config.privileged |= exec.privileged;
    let capabilities = capabilities(&config, host.bounding)?;
    let directory = if exec.working_dir.is_empty() { &record.config.working_dir } else { exec.working_dir };
    let mut process = json!({
        "terminal": exec.tty,
        "user": user(exec.user),
        "args": exec.args,
        "env": environment(record, exec.user, exec.tty, exec.env),
        "cwd": cwd(directory),
        "capabilities": capability_sets(&capabilities),
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": record.host.oom_score_adj,
    });
    let ulimits = record.host.ulimits.as_deref().unwrap_or_default();
    if !ulimits.is_empty() {
        process["rlimits"] = rlimits(ulimits, &host.hard);
    }
    Ok(process)
}

fn user(user: &User) -> Value {
    json!({"uid": user.uid, "gid": user.gid, "additionalGids": user.groups})
}

fn cwd(directory: &str) -> &str {
    if directory.is_empty() { "/" } else { directory }
}

/// Nothing is inheritable: a program of another user starts without capabilities unless its file grants them.
fn capability_sets(capabilities: &[&str]) -> Value {
    json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities})
}

/// The environment: the engine's variables, the container's, the exec's; a later value replaces an earlier one.
fn environment(record: &Record, user: &User, tty: bool, more: &[String]) -> Vec<String> {
    let mut env = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={}", record.config.hostname)];
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    for entry in record.config.env.iter().chain(more) {
        set(&mut env, entry);
    }
    if !env.iter().any(|entry| entry.starts_with("HOME=") && entry.len() > 5) {
        set(&mut env, &format!("HOME={}", user.home));
    }
    env
}

/// Sets `NAME=value`, or removes `NAME`.
fn set(env: &mut Vec<String>, entry: &str) {
    let name = entry.split_once('=').map_or(entry, |(name, _)| name);
    let same = |old: &String| old.split_once('=').is_some_and(|(old, _)| old == name);
    let place = env.iter().position(same);
    match (place, entry.contains('=')) {
        (Some(place), true) => entry.clone_into(&mut env[place]),
        (Some(place), false) => drop(env.remove(place)),
        (None, true) => env.push(entry.to_owned()),
        (None, false) => {}
    }
}
