//! The request and the answers of `jail`, `share` and `freeze` on standard input (see `cofferdam_model::JailSpec`).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use cofferdam_model::JailReply;
use serde::de::DeserializeOwned;

/// The longest request: a few hundred paths.
const MAX_REQUEST: u64 = 1 << 20;

/// Takes the socket off standard input and reads the descriptors and the request.
pub fn receive<T: DeserializeOwned>() -> Result<(UnixStream, T, Vec<OwnedFd>)> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().context("standard input")?);
    let null = std::fs::File::open("/dev/null").context("/dev/null")?;
    rustix::stdio::dup2_stdin(&null).context("standard input")?;
    let fds = cofferdam_sys::unix::receive_fds(&socket).context("descriptors")?;
    let mut line = String::new();
    BufReader::new((&socket).take(MAX_REQUEST)).read_line(&mut line).context("request")?;
    let request = serde_json::from_str(&line).context("request")?;
    Ok((socket, request, fds))
}

/// Answers the one request that comes; `verb` is the subcommand's name.
pub fn serve<T: DeserializeOwned>(
    verb: &str,
    work: impl FnOnce(&UnixStream, T, Vec<OwnedFd>) -> ExitCode,
) -> ExitCode {
    match receive() {
        Ok((socket, request, fds)) => work(&socket, request, fds),
        Err(error) => {
            eprintln!("cofferdam-oci {verb}: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Sends an answer. A peer that has gone does not want it any more.
pub fn reply(mut socket: &UnixStream, reply: &JailReply) {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    socket.write_all(&line).ok();
}

/// Reads one answer; `None` when the peer closed its end without one.
pub fn read_reply(socket: &UnixStream) -> Option<JailReply> {
    let mut line = String::new();
    BufReader::new(socket.take(MAX_REQUEST)).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}
