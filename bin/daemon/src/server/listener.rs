//! Where the API is served: Unix sockets, loopback TCP, and TCP with mutual TLS.

use std::fmt;
use std::fs::Permissions;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use super::{TlsError, TlsFiles, serve};

/// An address to serve on, as `-H` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `unix:///run/cofferdam/cofferdam.sock`
    Unix(PathBuf),
    /// `tcp://127.0.0.1:2375`
    Tcp(String),
}

/// Serving there is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not an address that `-H` takes.
    #[error("unable to parse host {0:?}: want unix:///path or tcp://host:port")]
    Host(String),
    /// Anyone on the network could become root on this host.
    #[error(
        "refusing to serve the API on {0} without TLS: whoever reaches it is root on this host; use --tlsverify \
         with --tlscacert, --tlscert and --tlskey, or an address on the loopback interface"
    )]
    Exposed(SocketAddr),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Another server answers on this socket.
    #[error("{0} is in use by another daemon")]
    InUse(PathBuf),
    /// No such group, though one was asked for.
    #[error("group {0:?} not found")]
    Group(String),
    /// The kernel refused.
    #[error("cannot listen on {host}: {source}")]
    Io {
        /// Where.
        host: String,
        /// Why.
        source: std::io::Error,
    },
}

impl FromStr for Host {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let invalid = || ListenError::Host(text.to_owned());
        match text.trim().split_once("://").ok_or_else(invalid)? {
            ("unix", path) if path.starts_with('/') => Ok(Self::Unix(PathBuf::from(path))),
            ("tcp", address) if !address.is_empty() => {
                Ok(Self::Tcp(address.trim_end_matches('/').to_owned()))
            }
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// A bound address, not yet served.
pub enum Listener {
    /// A Unix socket, and its path to remove at the end.
    Unix(UnixListener, PathBuf),
    /// Plain TCP on the loopback interface.
    Tcp(TcpListener),
    /// TCP where client and server show certificates.
    Tls(TcpListener, TlsAcceptor),
}

impl Listener {
    /// Binds the address. `group` owns a Unix socket when it exists; a group that was `asked` for must.
    pub async fn bind(
        host: &Host,
        tls: Option<&TlsFiles>,
        group: &str,
        asked: bool,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Io { host: host.to_string(), source };
        match host {
            Host::Unix(path) => bind_unix(path, group, asked).map_err(|error| match error {
                UnixError::Listen(error) => error,
                UnixError::Io(source) => failed(source),
            }),
            Host::Tcp(address) => {
                let port = if tls.is_some() { 2376 } else { 2375 };
                let address = match address.parse::<IpAddr>() {
                    Ok(ip) => SocketAddr::new(ip, port).to_string(),
                    Err(_has_a_port) if address.contains(':') => address.clone(),
                    Err(_name) => format!("{address}:{port}"),
                };
                let addresses: Vec<SocketAddr> =
                    tokio::net::lookup_host(&address).await.map_err(failed)?.collect();
                if let (None, Some(exposed)) = (tls, addresses.iter().find(|a| !a.ip().is_loopback())) {
                    return Err(ListenError::Exposed(*exposed));
                }
                let acceptor = tls.map(TlsFiles::acceptor).transpose()?;
                let listener = TcpListener::bind(addresses.as_slice()).await.map_err(failed)?;
                Ok(match acceptor {
                    Some(acceptor) => Self::Tls(listener, acceptor),
                    None => Self::Tcp(listener),
                })
            }
        }
    }

    /// Serves for ever; drop the future to stop. Connections live in tasks of their own.
    pub async fn run(self, router: Router) {
        let router = Arc::new(router);
        loop {
            let router = Router::clone(&router);
            let accepted = match &self {
                Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| {
                    tokio::spawn(serve(stream, router));
                }),
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(serve(stream, router));
                }),
                Self::Tls(listener, acceptor) => listener.accept().await.map(|(stream, peer)| {
                    let _ = stream.set_nodelay(true);
                    let handshake = acceptor.accept(stream);
                    tokio::spawn(async move {
                        match tokio::time::timeout(std::time::Duration::from_secs(10), handshake).await {
                            Ok(Ok(stream)) => serve(stream, router).await,
                            Ok(Err(error)) => tracing::info!("TLS with {peer} failed: {error}"),
                            Err(_elapsed) => tracing::info!("TLS with {peer} was not completed in time"),
                        }
                    });
                }),
            };
            if let Err(error) = accepted {
                // Out of descriptors, most likely: waiting lets connections end.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A Unix socket cannot be served.
enum UnixError {
    Listen(ListenError),
    Io(std::io::Error),
}

impl From<std::io::Error> for UnixError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn bind_unix(path: &Path, group: &str, asked: bool) -> Result<Listener, UnixError> {
    let gid = match group_id(group) {
        Some(gid) => Some(gid),
        None if asked && !group.is_empty() => {
            return Err(UnixError::Listen(ListenError::Group(group.to_owned())));
        }
        None => None,
    };
    let (directory, name) = match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) => (directory, name),
        _ => return Err(UnixError::Io(std::io::ErrorKind::InvalidInput.into())),
    };
    std::fs::create_dir_all(directory)?;
    // A long path is reached through its directory, since a socket's address holds 108 bytes.
    let name = name.to_str().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
    let listener = cofferdam_sys::unix::bind(directory, name).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => UnixError::Listen(ListenError::InUse(path.to_owned())),
        _ => UnixError::Io(error),
    })?;
    // Until here only the owner may write to the socket (the umask is 022), and connecting takes writing.
    if let Some(gid) = gid {
        chown(path, None, Some(gid))?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    Ok(Listener::Unix(UnixListener::from_std(listener)?, path.to_owned()))
}

/// The number of a group, by name in `/etc/group` or as a number.
fn group_id(group: &str) -> Option<u32> {
    if let Ok(gid) = group.parse() {
        return Some(gid);
    }
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_parse_as_dockerd_takes_them() {
        assert_eq!("unix:///a/b.sock".parse::<Host>().unwrap(), Host::Unix("/a/b.sock".into()));
        assert_eq!("tcp://127.0.0.1:0/".parse::<Host>().unwrap(), Host::Tcp("127.0.0.1:0".into()));
        for bad in ["", "/a", "unix://a", "tcp://", "fd://", "http://a"] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn plain_tcp_stays_on_loopback() {
        let outside = Listener::bind(&Host::Tcp("0.0.0.0:0".into()), None, "", false).await;
        assert!(matches!(outside, Err(ListenError::Exposed(_))));
        assert!(Listener::bind(&Host::Tcp("127.0.0.1:0".into()), None, "", false).await.is_ok());
    }
}
