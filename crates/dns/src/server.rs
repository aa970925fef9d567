//! The sockets of a network's resolver.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::answer::failure;
use crate::{Names, Verdict, forward, judge};

/// DNS.
const PORT: u16 = 53;

/// The most queries that are forwarded at one time; those beyond are dropped, and clients ask again.
const MOST_QUERIES: usize = 128;

/// The most TCP connections at one time.
const MOST_CONNECTIONS: usize = 32;

/// How long a TCP connection may say nothing.
const IDLE: Duration = Duration::from_secs(10);

/// The longest query that is read from a datagram.
const LONGEST_QUERY: usize = 1500;

/// A resolver. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    // Dropping it aborts what runs in it.
    _serving: JoinSet<()>,
}

impl Server {
    /// Listens on this address, UDP and TCP. Inside a tokio runtime.
    pub async fn start(address: Ipv4Addr, names: Arc<dyn Names>) -> std::io::Result<Self> {
        Self::bind((address, PORT).into(), names).await
    }

    async fn bind(address: SocketAddr, names: Arc<dyn Names>) -> std::io::Result<Self> {
        let datagrams = Arc::new(UdpSocket::bind(address).await?);
        let streams = TcpListener::bind(datagrams.local_addr()?).await?;
        let mut serving = JoinSet::new();
        serving.spawn(serve_datagrams(datagrams, Arc::clone(&names)));
        serving.spawn(serve_streams(streams, names));
        Ok(Self { _serving: serving })
    }
}

async fn serve_datagrams(socket: Arc<UdpSocket>, names: Arc<dyn Names>) {
    let places = Arc::new(Semaphore::new(MOST_QUERIES));
    let mut forwarded = JoinSet::new();
    let mut buffer = [0; LONGEST_QUERY];
    loop {
        while forwarded.try_join_next().is_some() {}
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An earlier answer could not be delivered, say; nothing to spin on.
                tracing::debug!("resolver: {error}");
                sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        match judge(&buffer[..length], ipv4(client), &*names) {
            Verdict::Answer(answer) => drop(socket.send_to(&answer, client).await),
            Verdict::Ignore => {}
            Verdict::Forward => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let (socket, query) = (Arc::clone(&socket), buffer[..length].to_vec());
                let servers = names.upstream(ipv4(client));
                forwarded.spawn(async move {
                    let _place = place;
                    let answer = forward::udp(&query, &servers).await.or_else(|| failure(&query));
                    if let Some(answer) = answer {
                        let _ = socket.send_to(&answer, client).await;
                    }
                });
            }
        }
    }
}

async fn serve_streams(listener: TcpListener, names: Arc<dyn Names>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, client)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let names = Arc::clone(&names);
        connections.spawn(async move {
            let _place = place;
            let _ = converse(stream, ipv4(client), &*names).await;
        });
    }
}

async fn converse(mut stream: TcpStream, client: Ipv4Addr, names: &dyn Names) -> std::io::Result<()> {
    loop {
        let query = timeout(IDLE, forward::receive(&mut stream)).await??;
        let answer = match judge(&query, client, names) {
            Verdict::Answer(answer) => Some(answer),
            Verdict::Ignore => None,
            Verdict::Forward => {
                forward::tcp(&query, &names.upstream(client)).await.or_else(|| failure(&query))
            }
        };
        let Some(answer) = answer else { return Ok(()) };
        timeout(IDLE, forward::send(&mut stream, &answer)).await??;
    }
}

fn ipv4(client: SocketAddr) -> Ipv4Addr {
    match client.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use hickory_proto::op::{Message, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};

    /// Knows `known`, and where the rest is answered.
    struct Some1(Vec<SocketAddr>);

    impl Names for Some1 {
        fn addresses(&self, _client: Ipv4Addr, name: &str) -> Option<Vec<IpAddr>> {
            (name == "known").then(|| vec![IpAddr::from([10, 0, 0, 1])])
        }

        fn name(&self, _client: Ipv4Addr, _address: IpAddr) -> Option<String> {
            None
        }

        fn upstream(&self, _client: Ipv4Addr) -> Vec<SocketAddr> {
            self.0.clone()
        }
    }

    async fn started(upstream: Vec<SocketAddr>) -> (Server, SocketAddr) {
        for _ in 0..50 {
            let free = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            if let Ok(server) = Server::bind(free, Arc::new(Some1(upstream.clone()))).await {
                return (server, free);
            }
        }
        panic!("no free port");
    }

    fn query(name: &str) -> Vec<u8> {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        query.to_vec().unwrap()
    }

    #[tokio::test]
    async fn what_one_does_not_know_the_next_is_asked() {
        let (_beyond, upstream) = started(Vec::new()).await;
        let (_server, address) = started(vec![upstream]).await;
        for (name, code, answers) in
            [("known.", ResponseCode::NoError, 1), ("unknown.", ResponseCode::ServFail, 0)]
        {
            let answer = forward::udp(&query(name), &[address]).await.unwrap();
            let answer = Message::from_vec(&answer).unwrap();
            assert_eq!((answer.metadata.response_code, answer.answers.len()), (code, answers));
            let answer = forward::tcp(&query(name), &[address]).await.unwrap();
            assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), answers);
        }
    }
}
