//! What can go wrong between a client and the daemon.

use crate::{Host, InvalidHost};

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("cannot connect to the Cofferdam daemon at {host}. Is cofferdamd running?")]
    Connect {
        /// Where.
        host: Host,
        /// Why.
        source: std::io::Error,
    },
    /// The daemon refused; in its own words.
    #[error("{message}")]
    Daemon {
        /// The HTTP status.
        status: u16,
        /// The `message` of its answer.
        message: String,
    },
    /// The connection broke, or the other side does not speak HTTP.
    #[error("the connection to the daemon failed")]
    Connection(#[source] hyper::Error),
    /// The connection broke in mid-stream.
    #[error("the stream from the daemon broke")]
    Stream(#[source] std::io::Error),
    /// Our own output cannot be written.
    #[error("cannot write output")]
    Output(#[source] std::io::Error),
    /// The answer is not what the API promises.
    #[error("cannot understand the daemon's answer to {endpoint}")]
    Decode {
        /// Method and path.
        endpoint: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The daemon answered a request for a raw stream with something else.
    #[error("the daemon did not open a stream for {endpoint} (status {status})")]
    NotUpgraded {
        /// Method and path.
        endpoint: String,
        /// The HTTP status.
        status: u16,
    },
    /// A request that cannot be put in HTTP's words.
    #[error("cannot make a request for {endpoint}")]
    Request {
        /// Method and path.
        endpoint: String,
        /// Why.
        source: hyper::http::Error,
    },
    /// The address cannot be used.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// Keys or certificates cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
}

impl ClientError {
    /// The HTTP status, when the daemon answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Daemon { status, .. } | Self::NotUpgraded { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the thing asked for does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the thing's state forbids it (or its name is taken).
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }
}
