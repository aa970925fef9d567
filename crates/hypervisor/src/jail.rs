//! The shim's side of `cofferdam-oci jail` and `cofferdam-oci share`.

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use cofferdam_model::{FreezeSpec, FrozenParts, JailReply};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::VmError;

/// A helper that stays as long as this value lives.
pub struct Supervisor {
    socket: BufReader<UnixStream>,
}

impl Supervisor {
    /// Starts `cofferdam-oci <verb>`, passes descriptors and the request, and waits for the answer: the PID of what
    /// was started.
    pub async fn start(
        helper: &Path,
        verb: &str,
        request: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(i32, Self), VmError> {
        let mut supervisor = Self::ask(helper, verb, request, fds).await?;
        match supervisor.reply().await {
            Some(JailReply::Started { pid }) => Ok((pid, supervisor)),
            reply => Err(no_success(helper, verb, reply)),
        }
    }

    /// Starts `cofferdam-oci freeze` in the same way, and waits until it has written the process.
    pub async fn freeze(
        helper: &Path,
        request: &FreezeSpec,
        fds: &[BorrowedFd<'_>],
    ) -> Result<FrozenParts, VmError> {
        match Self::ask(helper, "freeze", request, fds).await?.reply().await {
            Some(JailReply::Frozen(parts)) => Ok(parts),
            reply => Err(no_success(helper, "freeze", reply)),
        }
    }

    async fn ask(
        helper: &Path,
        verb: &str,
        request: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Self, VmError> {
        let (ours, theirs) = StdUnixStream::pair().map_err(VmError::os("socket pair"))?;
        cofferdam_sys::unix::send_fds(&ours, fds).map_err(VmError::os("pass descriptors"))?;
        let child = Command::new(helper)
            .arg(verb)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|source| VmError::File { path: helper.to_owned(), source })?;
        // Whoever hosts this code reaps every child; the socket says when this one ends.
        drop(child);
        ours.set_nonblocking(true).map_err(VmError::os("socket"))?;
        let mut socket = BufReader::new(UnixStream::from_std(ours).map_err(VmError::os("socket"))?);
        let mut line = serde_json::to_vec(request).map_err(|error| VmError::Jail(error.to_string()))?;
        line.push(b'\n');
        socket.get_mut().write_all(&line).await.map_err(VmError::os("helper request"))?;
        Ok(Self { socket })
    }

    /// Waits for the end of what was started.
    pub async fn ended(&mut self) -> String {
        match self.reply().await {
            Some(JailReply::Ended { status }) => status,
            _ => "its supervisor ended".to_owned(),
        }
    }

    /// Asks for the end of what was started; [`Supervisor::ended`] tells when it has come.
    pub async fn end(&mut self) {
        self.socket.get_mut().shutdown().await.ok();
    }

    async fn reply(&mut self) -> Option<JailReply> {
        let mut line = String::new();
        self.socket.read_line(&mut line).await.ok()?;
        serde_json::from_str(&line).ok()
    }
}

fn no_success(helper: &Path, verb: &str, reply: Option<JailReply>) -> VmError {
    VmError::Jail(match reply {
        Some(JailReply::Failed { message }) => message,
        Some(JailReply::Ended { status }) => status,
        Some(_) => format!("{} {verb} gave an answer to something else", helper.display()),
        None => format!("{} {verb} ended without an answer", helper.display()),
    })
}
