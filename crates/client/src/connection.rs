//! A connection to a daemon. Each request has its own: they are local and cheap, and a stream that is abandoned
//! in the middle then disturbs nothing else.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::{Body, ClientError, Host, tls};

/// Bytes both ways.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects and starts HTTP/1.1; the connection lives in a task of its own until it is not needed any more.
pub(crate) async fn open(host: &Host) -> Result<SendRequest<Body>, ClientError> {
    let failed = |source| ClientError::Connect { host: host.clone(), source };
    let stream: Box<dyn Duplex> = match host {
        Host::Unix(path) => Box::new(connect_unix(path).await.map_err(failed)?),
        Host::Tcp { address, tls } => {
            let stream = TcpStream::connect(address).await.map_err(failed)?;
            // Keystrokes are small and waited for.
            stream.set_nodelay(true).map_err(failed)?;
            match tls {
                None => Box::new(stream),
                Some(files) => Box::new(tls::handshake(stream, address, files).await?),
            }
        }
    };
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(ClientError::Connection)?;
    // Its failures reach whoever waits for an answer.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// A socket's path is limited to 107 bytes; a longer one is reached through its directory's descriptor.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    const LONGEST: usize = 107;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return UnixStream::connect(path).await;
    };
    if path.as_os_str().len() <= LONGEST {
        return UnixStream::connect(path).await;
    }
    let directory = std::fs::File::open(directory)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short).await
}
