//! The request and the answer on standard input, with the descriptors that travel beside them.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use cofferdam_model::HelperReply;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// The streams that came with a request; no standard streams with a TTY.
pub struct Streams {
    /// Standard input, output and error, in this order; then a parked container's stream of orders.
    pub fds: Vec<OwnedFd>,
}

/// What a request made.
pub struct Made {
    /// The new process.
    pub pid: i32,
    /// Its TTY's master.
    pub master: Option<OwnedFd>,
}

/// Reads one request, lets `handle` do it, and answers.
pub fn serve<R: DeserializeOwned>(handle: fn(R, Streams) -> Result<Made, Failure>) -> ExitCode {
    // What a container's processes inherit does not depend on who started the daemon.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let socket = match take_socket() {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("cofferdam-oci: standard input: {error}");
            return ExitCode::from(2);
        }
    };
    let made = receive(socket.as_fd()).and_then(|(request, streams)| {
        let request =
            serde_json::from_slice(&request).map_err(|error| Failure::new("helper request", error))?;
        handle(request, streams)
    });
    let (reply, master) = match made {
        Ok(Made { pid, master }) => (HelperReply::Ready { pid }, master),
        Err(failure) => (failure.into(), None),
    };
    match send(socket.as_fd(), &reply, master.as_ref().map(AsFd::as_fd)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cofferdam-oci: answer: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Moves the socket off standard input, which becomes `/dev/null`.
fn take_socket() -> std::io::Result<OwnedFd> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}

fn receive(socket: BorrowedFd<'_>) -> Result<(Vec<u8>, Streams), Failure> {
    let mut request = Vec::new();
    let mut fds = Vec::new();
    let mut chunk = [0u8; 16 * 1024];
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(
                socket,
                &mut [IoSliceMut::new(&mut chunk)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .map_err(|error| Failure::new("helper request", error))?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Ok((request, Streams { fds }));
        }
        request.extend_from_slice(&chunk[..received.bytes]);
    }
}

fn send(socket: BorrowedFd<'_>, reply: &HelperReply, master: Option<BorrowedFd<'_>>) -> std::io::Result<()> {
    let text = serde_json::to_vec(reply)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let rights = master.as_ref().map(std::slice::from_ref);
    if let Some(rights) = rights {
        ancillary.push(SendAncillaryMessage::ScmRights(rights));
    }
    // The first bytes carry the descriptor, the rest follows plainly.
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL)?;
    let mut rest = &text[sent..];
    while !rest.is_empty() {
        let sent = rustix::net::send(socket, rest, SendFlags::NOSIGNAL)?;
        rest = &rest[sent..];
    }
    // The waiting init process still holds a copy of this socket: closing ours would not end the answer.
    rustix::net::shutdown(socket, rustix::net::Shutdown::Write)?;
    Ok(())
}

/// The two ends of a pair, for descriptors that stay between this process and a child.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Failure> {
    let (one, other) =
        std::os::unix::net::UnixStream::pair().map_err(|error| Failure::new("socket pair", error))?;
    Ok((one.into(), other.into()))
}

/// Receives the one descriptor that waits in `socket`.
pub fn receive_fd(socket: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let mut chunk = [0u8; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut chunk)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .map_err(|error| Failure::new("console socket", error))?;
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    fd.ok_or_else(|| Failure::new("console socket", "no terminal came through it"))
}
