//! TCP: a server that takes or gives back what it is sent, and a client that times both.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What a connection begins with: everything else is to be read to its end, and then answered by one byte.
const TAKE: u8 = b't';
/// Every byte is to be sent back at once.
const ECHO: u8 = b'e';

/// What is sent, in pieces.
const BYTES: u32 = 256 << 20;
const PIECE: usize = 256 << 10;

const ROUND_TRIPS: u32 = 1000;

/// Where nothing comes any more, nothing will.
const SILENCE: Duration = Duration::from_secs(60);

/// Serves on all addresses for ever; port 0 is any. Prints the port.
pub fn serve(port: u16) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a free port");
    println!("{}", listener.local_addr().expect("it is bound").port());
    for stream in listener.incoming().flatten() {
        // A client that goes away is its own business.
        thread::spawn(move || drop(answer(stream)));
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    let mut buffer = vec![0; PIECE];
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            count if first[0] == ECHO => stream.write_all(&buffer[..count])?,
            _ => {}
        }
    }
    stream.write_all(&[0])
}

/// Gbit per second to a server.
pub fn throughput(address: Ipv4Addr, port: u16) -> std::io::Result<f64> {
    let mut stream = connect(address, port, TAKE)?;
    let piece = vec![0; PIECE];
    let start = Instant::now();
    for _ in 0..BYTES as usize / PIECE {
        stream.write_all(&piece)?;
    }
    stream.shutdown(Shutdown::Write)?;
    // It answers when it has read everything.
    stream.read_exact(&mut [0])?;
    Ok(f64::from(BYTES) * 8.0 / 1e9 / start.elapsed().as_secs_f64())
}

/// Microseconds until a byte has come back from a server.
pub fn round_trip(address: Ipv4Addr, port: u16) -> std::io::Result<f64> {
    let mut stream = connect(address, port, ECHO)?;
    let start = Instant::now();
    for _ in 0..ROUND_TRIPS {
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS))
}

/// A server in a container that has just been started listens some time later.
fn connect(address: Ipv4Addr, port: u16, first: u8) -> std::io::Result<TcpStream> {
    let end = Instant::now() + Duration::from_secs(30);
    let mut stream = loop {
        match TcpStream::connect_timeout(&(address, port).into(), Duration::from_secs(5)) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    };
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.write_all(&[first])?;
    Ok(stream)
}

/// The way out of here, or this very host where there is none.
pub fn gateway() -> Ipv4Addr {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let gateway = routes.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (fields.next()? == "00000000").then_some(())?;
        let address = u32::from_str_radix(fields.next()?, 16).ok()?;
        Some(Ipv4Addr::from(address.to_le_bytes()))
    });
    gateway.unwrap_or(Ipv4Addr::LOCALHOST)
}
