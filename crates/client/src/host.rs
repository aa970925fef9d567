//! Where a daemon listens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The daemon's default socket.
pub const DEFAULT_SOCKET: &str = "/run/cofferdam/cofferdam.sock";

/// A daemon's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`, in the clear (the daemon offers that on loopback only) or with TLS.
    Tcp {
        /// `host:port`.
        address: String,
        /// Where the keys are; `None` is in the clear.
        tls: Option<TlsFiles>,
    },
}

/// `ca.pem`, `cert.pem` and `key.pem`, as Docker names them under `DOCKER_CERT_PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Their directory.
    pub directory: PathBuf,
}

/// The text is not an address.
#[derive(Debug, thiserror::Error)]
#[error("invalid host {0:?}: want unix:///path/to/socket or tcp://host:port")]
pub struct InvalidHost(pub String);

impl Host {
    /// A Unix socket.
    #[must_use]
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::Unix(path.as_ref().to_owned())
    }

    /// The same address, with TLS when it is TCP.
    #[must_use]
    pub fn with_tls(self, files: TlsFiles) -> Self {
        match self {
            Self::Tcp { address, .. } => Self::Tcp { address, tls: Some(files) },
            unix => unix,
        }
    }

    /// What goes in the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        match self {
            Self::Unix(_) => "cofferdam",
            Self::Tcp { address, .. } => address,
        }
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::unix(DEFAULT_SOCKET)
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.is_empty() { Ok(Self::default()) } else { Ok(Self::unix(path)) };
        }
        if text.starts_with('/') {
            return Ok(Self::unix(text));
        }
        let address = text.strip_prefix("tcp://").ok_or_else(invalid)?.trim_end_matches('/');
        let (name, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let name = if name.is_empty() { "localhost" } else { name };
        let port: u16 = port.parse().map_err(|_not_a_port| invalid())?;
        if name.contains('/') || (name.contains(':') && !name.starts_with('[')) {
            return Err(invalid());
        }
        Ok(Self::Tcp { address: format!("{name}:{port}"), tls: None })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { address, .. } => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_docker_writes_them() {
        assert_eq!("unix:///a/b.sock".parse::<Host>().unwrap(), Host::unix("/a/b.sock"));
        assert_eq!("/a/b.sock".parse::<Host>().unwrap().to_string(), "unix:///a/b.sock");
        assert_eq!("tcp://127.0.0.1:2375".parse::<Host>().unwrap().to_string(), "tcp://127.0.0.1:2375");
        assert_eq!("tcp://:2375".parse::<Host>().unwrap().to_string(), "tcp://localhost:2375");
        assert_eq!("tcp://[::1]:2375".parse::<Host>().unwrap().authority(), "[::1]:2375");
        for bad in
            ["", "tcp://", "tcp://a", "tcp://a:b", "tcp://::1", "ssh://a", "http://a:1", "a/b", "tcp://a/b:1"]
        {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }
}
