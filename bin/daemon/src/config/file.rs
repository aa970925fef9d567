//! The configuration file: dockerd's `daemon.json`. A key is a flag's name (in the plural where a flag repeats), and
//! a value that is given both here and as a flag is refused rather than silently overridden.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Map, Value};

use super::Flags;
use crate::containers::config::Ulimit;
use crate::containers::ulimit_refusal;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error(transparent)]
    Read(std::io::Error),
    /// It is not a JSON object.
    #[error("invalid JSON: {0}")]
    Json(serde_json::Error),
    /// Keys that mean nothing.
    #[error("the following directives don't match any configuration option: {0}")]
    Unknown(String),
    /// Values given twice.
    #[error("the following directives are specified both as a flag and in the configuration file: {0}")]
    Conflict(String),
    /// A value of the wrong type.
    #[error("invalid value for {key}: {source}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Map<String, Value>, FileError> {
    let text = std::fs::read(path).map_err(FileError::Read)?;
    if text.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&text).map_err(FileError::Json)
}

/// A field of [`Flags`] that a file can set.
trait Setting {
    /// The flag's value as text, if it was given.
    fn given(&self) -> Option<String>;
    /// Takes the file's value.
    fn set(&mut self, value: Value) -> serde_json::Result<()>;
}

impl<T: DeserializeOwned + std::fmt::Debug> Setting for Option<T> {
    fn given(&self) -> Option<String> {
        self.as_ref().map(|value| format!("{value:?}"))
    }

    fn set(&mut self, value: Value) -> serde_json::Result<()> {
        serde_json::from_value(value).map(|value| *self = Some(value))
    }
}

impl Setting for Vec<String> {
    fn given(&self) -> Option<String> {
        (!self.is_empty()).then(|| format!("{self:?}"))
    }

    fn set(&mut self, value: Value) -> serde_json::Result<()> {
        // Names with values are an object in a file, as dockerd has it.
        *self = match value {
            Value::Object(_) => {
                let map: BTreeMap<String, String> = serde_json::from_value(value)?;
                map.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
            }
            list => serde_json::from_value(list)?,
        };
        Ok(())
    }
}

/// In the file they go by their names: `{"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}}`.
impl Setting for Vec<Ulimit> {
    fn given(&self) -> Option<String> {
        let one = |limit: &Ulimit| format!("{}={}:{}", limit.name, limit.soft, limit.hard);
        (!self.is_empty()).then(|| self.iter().map(one).collect::<Vec<_>>().join(" "))
    }

    fn set(&mut self, value: Value) -> serde_json::Result<()> {
        let by_name: std::collections::BTreeMap<String, Ulimit> = serde_json::from_value(value)?;
        *self = by_name.into_iter().map(|(name, limit)| Ulimit { name, ..limit }).collect();
        let wrong = self.iter().find_map(ulimit_refusal);
        wrong.map_or(Ok(()), |text| Err(serde_json::Error::custom(text)))
    }
}

impl Setting for bool {
    fn given(&self) -> Option<String> {
        self.then(|| "true".to_owned())
    }

    fn set(&mut self, value: Value) -> serde_json::Result<()> {
        serde_json::from_value(value).map(|value| *self = value)
    }
}

/// Adds the file's values to the flags.
pub fn merge(mut flags: Flags, settings: Map<String, Value>) -> Result<Flags, FileError> {
    let (mut unknown, mut conflicts) = (Vec::new(), Vec::new());
    for (key, value) in settings {
        let Some(setting) = setting(&mut flags, &key) else {
            unknown.push(key);
            continue;
        };
        if let Some(flag) = setting.given() {
            conflicts.push(format!("{key}: (from flag: {flag}, from file: {value})"));
        } else {
            setting.set(value).map_err(|source| FileError::Value { key, source })?;
        }
    }
    match (unknown.as_slice(), conflicts.as_slice()) {
        ([], []) => Ok(flags),
        ([], _) => Err(FileError::Conflict(conflicts.join(", "))),
        _ => Err(FileError::Unknown(unknown.join(", "))),
    }
}

fn setting<'a>(flags: &'a mut Flags, key: &str) -> Option<&'a mut dyn Setting> {
    Some(match key {
        "hosts" => &mut flags.hosts,
        "data-root" => &mut flags.data_root,
        "exec-root" => &mut flags.exec_root,
        "pidfile" => &mut flags.pidfile,
        "default-isolation" => &mut flags.default_isolation,
        "isolation-policy" => &mut flags.isolation_policy,
        "vm-start" => &mut flags.vm_start,
        "vm-memory" => &mut flags.vm_memory,
        "template-root" => &mut flags.template_root,
        "template-count" => &mut flags.template_count,
        "template-space" => &mut flags.template_space,
        "log-level" => &mut flags.log_level,
        "log-driver" => &mut flags.log_driver,
        "log-opts" => &mut flags.log_opts,
        "journald-socket" => &mut flags.journald_socket,
        "debug" => &mut flags.debug,
        "group" => &mut flags.group,
        "bridge" => &mut flags.bridge,
        "bip" => &mut flags.bip,
        "dns" => &mut flags.dns,
        "dns-search" => &mut flags.dns_search,
        "default-ulimits" => &mut flags.default_ulimits,
        "insecure-registries" => &mut flags.insecure_registries,
        "instance" => &mut flags.instance,
        "guest" => &mut flags.guest,
        "tls" => &mut flags.tls,
        "tlsverify" => &mut flags.tlsverify,
        "tlscacert" => &mut flags.tlscacert,
        "tlscert" => &mut flags.tlscert,
        "tlskey" => &mut flags.tlskey,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(args: &[&str], file: &str) -> Result<Flags, String> {
        let flags = Flags::parse_from_args(args).unwrap();
        let settings = serde_json::from_str(file).unwrap();
        merge(flags, settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_adds_to_the_flags() {
        let flags = merged(&["--bridge", "none"], r#"{"hosts":["unix:///a"],"debug":true,"data-root":"/d"}"#);
        let flags = flags.unwrap();
        assert_eq!(flags.hosts, ["unix:///a"]);
        assert!(flags.debug);
        assert_eq!(flags.bridge.as_deref(), Some("none"));
        let flags =
            merged(&[], r#"{"log-driver":"local","log-opts":{"max-file":"3","max-size":"1m"}}"#).unwrap();
        assert_eq!(flags.log_opts, ["max-file=3", "max-size=1m"]);
    }

    #[test]
    fn default_ulimits_are_flags_or_an_object() {
        let ulimit = |name: &str, soft, hard| Ulimit { name: name.to_owned(), soft, hard };
        let flags = merged(&["--default-ulimit", "nofile=5:6", "--default-ulimit", "core=-1"], "{}").unwrap();
        assert_eq!(flags.default_ulimits, [ulimit("nofile", 5, 6), ulimit("core", -1, -1)]);
        let file = r#"{"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 7, "Hard": 8}}}"#;
        assert_eq!(merged(&[], file).unwrap().default_ulimits, [ulimit("nofile", 7, 8)]);
        assert!(merged(&["--default-ulimit", "nofile=5"], file).unwrap_err().contains("nofile=5:5"));
        let wrong = merged(&[], r#"{"default-ulimits": {"x": {"Soft": 7, "Hard": 8}}}"#).unwrap_err();
        assert_eq!(wrong, "invalid value for default-ulimits: invalid ulimit type: x");
    }

    #[test]
    fn conflicts_and_strangers_are_refused_in_dockerds_words() {
        let conflict = merged(&["--log-level", "debug"], r#"{"log-level":"info"}"#).unwrap_err();
        assert_eq!(
            conflict,
            "the following directives are specified both as a flag and in the configuration file: log-level: (from \
             flag: \"debug\", from file: \"info\")"
        );
        let unknown = merged(&[], r#"{"colour":"red"}"#).unwrap_err();
        assert_eq!(unknown, "the following directives don't match any configuration option: colour");
        assert!(merged(&[], r#"{"debug":"yes"}"#).unwrap_err().starts_with("invalid value for debug"));
    }
}
