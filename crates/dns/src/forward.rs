//! Queries that others answer: the bytes as they came, to one server after the other.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one server may take; clients ask again after five seconds (resolv.conf(5)).
const PATIENCE: Duration = Duration::from_secs(2);

/// The most servers that are asked.
const MOST_SERVERS: usize = 3;

/// The longest datagram that is passed on.
const LONGEST_DATAGRAM: usize = 4096;

/// The first answer that comes.
pub(crate) async fn udp(query: &[u8], servers: &[SocketAddr]) -> Option<Vec<u8>> {
    for server in servers.iter().take(MOST_SERVERS) {
        if let Ok(Ok(answer)) = timeout(PATIENCE, ask(query, *server)).await {
            return Some(answer);
        }
    }
    None
}

/// A socket of its own for each query: a random port is half of what keeps forged answers out (RFC 5452).
async fn ask(query: &[u8], server: SocketAddr) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; LONGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Another query's late answer is nobody's.
        if length >= 12 && buffer.get(..2) == query.get(..2) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

/// The same over TCP.
pub(crate) async fn tcp(query: &[u8], servers: &[SocketAddr]) -> Option<Vec<u8>> {
    for server in servers.iter().take(MOST_SERVERS) {
        let asking = async {
            let mut stream = TcpStream::connect(server).await?;
            send(&mut stream, query).await?;
            receive(&mut stream).await
        };
        if let Ok(Ok(answer)) = timeout(PATIENCE, asking).await
            && answer.get(..2) == query.get(..2)
        {
            return Some(answer);
        }
    }
    None
}

/// A message with its length in front (RFC 1035, 4.2.2).
pub(crate) async fn send(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len())
        .map_err(|_too_long| std::io::Error::from(std::io::ErrorKind::InvalidData))?;
    stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await
}

/// Reads one.
pub(crate) async fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
