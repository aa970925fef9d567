//! Asking `cofferdam-oci`, the single-threaded helper that forks for us (see `cofferdam_model::HelperReply`).

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio as ChildStdio};

use cofferdam_model::HelperReply;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::Serialize;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::reaper::{Exited, Reaper};
use crate::Error;

/// What the helper started.
pub(super) struct Started {
    /// The process, our child.
    pub pid: i32,
    /// Its TTY's master.
    pub master: Option<OwnedFd>,
    /// Its end.
    pub exited: Exited,
}

/// Has `helper` do `verb`, with `streams` as the new process's standard streams (none with a TTY).
pub(super) async fn ask(
    helper: &Path,
    verb: &str,
    request: &impl Serialize,
    streams: Vec<OwnedFd>,
    reaper: &Reaper,
) -> Result<Started, Error> {
    let broken = |source| Error::Os { doing: "talking to the OCI helper", source };
    let text = serde_json::to_vec(request).map_err(|error| broken(error.into()))?;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(broken)?;
    ours.set_nonblocking(true).map_err(broken)?;
    let mut socket = UnixStream::from_std(ours).map_err(broken)?;

    let starting = reaper.starting();
    let child = Command::new(helper)
        .arg(verb)
        .stdin(OwnedFd::from(theirs))
        .stdout(ChildStdio::null())
        .spawn()
        .map_err(|source| Error::Path { path: helper.to_owned(), source })?;
    let ended = starting.claim(i32::try_from(child.id()).unwrap_or(i32::MAX));

    // A helper that dies early breaks the conversation; its exit status says more than a broken pipe.
    let conversation = async {
        send(&mut socket, &text, &streams).await?;
        drop(streams);
        receive(&socket).await
    };
    let (answer, mut fds) = match conversation.await {
        Ok(answer) => answer,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => (Vec::new(), Vec::new()),
        Err(error) => return Err(broken(error)),
    };
    if answer.is_empty() {
        let code = ended.wait().await.code;
        return Err(Error::Helper(format!(
            "{} {verb} ended with status {code} and no answer",
            helper.display()
        )));
    }
    match serde_json::from_slice(&answer).map_err(|error| broken(error.into()))? {
        HelperReply::Ready { pid } => Ok(Started { pid, master: fds.pop(), exited: starting.claim(pid) }),
        HelperReply::Failed { message, code: Some(code) } => Err(Error::Exec { message, code }),
        HelperReply::Failed { message, code: None } => Err(Error::Helper(message)),
    }
}

async fn send(socket: &mut UnixStream, text: &[u8], streams: &[OwnedFd]) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = streams.iter().map(AsFd::as_fd).collect();
    let sent = socket
        .async_io(Interest::WRITABLE, || cofferdam_sys::unix::send_with_fds(&*socket, text, &fds))
        .await?;
    socket.write_all(&text[sent..]).await?;
    socket.shutdown().await
}

async fn receive(socket: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut answer = Vec::new();
    let mut fds = Vec::new();
    loop {
        let mut chunk = [0u8; 4096];
        let received = socket
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let received = rustix::net::recvmsg(
                    socket,
                    &mut [IoSliceMut::new(&mut chunk)],
                    &mut ancillary,
                    RecvFlags::CMSG_CLOEXEC,
                )?;
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        fds.extend(rights);
                    }
                }
                Ok(received.bytes)
            })
            .await;
        match received {
            Ok(0) => return Ok((answer, fds)),
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            // A helper that ended without reading everything resets the connection: that is an end, too.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok((answer, fds)),
            Err(error) => return Err(error),
        }
    }
}
