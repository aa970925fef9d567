//! The isolation level.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a container is walled off from its host. One flag chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Namespaces and cgroups on the host's kernel (the original's `RuntimeType Default`).
    Process,
    /// Its own kernel in its own utility VM (the original's `RuntimeType HyperV`).
    Hyperv,
}

/// The text names no isolation level.
#[derive(Debug, thiserror::Error)]
#[error("invalid isolation {0:?}: must be default, process, or hyperv")]
pub struct UnknownIsolation(pub String);

impl Isolation {
    /// The level as Docker's API and CLI write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Hyperv => "hyperv",
        }
    }

    /// Reads `HostConfig.Isolation`: empty and `default` mean the daemon's default level. Case does not matter,
    /// as in Docker.
    pub fn parse_or(text: &str, default: Self) -> Result<Self, UnknownIsolation> {
        match text.to_ascii_lowercase().as_str() {
            "" | "default" => Ok(default),
            "process" => Ok(Self::Process),
            "hyperv" => Ok(Self::Hyperv),
            _ => Err(UnknownIsolation(text.to_owned())),
        }
    }
}

impl FromStr for Isolation {
    type Err = UnknownIsolation;

    fn from_str(text: &str) -> Result<Self, UnknownIsolation> {
        match text.to_ascii_lowercase().as_str() {
            "process" => Ok(Self::Process),
            "hyperv" => Ok(Self::Hyperv),
            _ => Err(UnknownIsolation(text.to_owned())),
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_parse_as_docker_writes_them() {
        assert_eq!(Isolation::parse_or("", Isolation::Hyperv).unwrap(), Isolation::Hyperv);
        assert_eq!(Isolation::parse_or("Default", Isolation::Process).unwrap(), Isolation::Process);
        assert_eq!(Isolation::parse_or("HyperV", Isolation::Process).unwrap(), Isolation::Hyperv);
        let error = Isolation::parse_or("vm", Isolation::Process).unwrap_err().to_string();
        assert_eq!(error, r#"invalid isolation "vm": must be default, process, or hyperv"#);
    }
}
