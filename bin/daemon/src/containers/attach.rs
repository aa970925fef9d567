//! `attach`: a client's connection joined to a program's stdio.

use std::pin::Pin;
use std::sync::Arc;

use cofferdam_model::IoRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;

use super::container::PendingStdio;
use super::detach::{self, Watcher};
use super::{Container, logs};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult, chain};
use crate::server::Duplex;

const BUFFER: usize = 32 << 10;

/// What a client attaches.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// It gives standard input.
    pub stdin: bool,
    /// It wants standard output.
    pub stdout: bool,
    /// It wants standard error.
    pub stderr: bool,
    /// It wants what was output before.
    pub logs: bool,
    /// It wants what is output from now on.
    pub stream: bool,
    /// The keys that leave; `None` for the default.
    pub detach_keys: Option<String>,
}

/// An attach that has begun: nothing output from now on is missed.
pub struct Attach {
    engine: Shared,
    container: Arc<Container>,
    request: Request,
    keys: Vec<u8>,
    stdio: Option<PendingStdio>,
}

impl Attach {
    /// Begins; everything that can be refused is refused here.
    pub async fn begin(engine: &Shared, container: &Arc<Container>, request: Request) -> ApiResult<Self> {
        let status = container.status();
        if status.state == cofferdam_model::State::Paused {
            return Err(ApiError::conflict(format!(
                "container {} is paused, unpause the container before attach",
                container.id
            )));
        }
        let keys = parse_keys(request.detach_keys.as_deref())?;
        let record = container.record();
        let stdio = if request.stream {
            let wanted = IoRequest {
                exec_id: String::new(),
                stdin: request.stdin && record.config.open_stdin,
                stdout: request.stdout,
                stderr: request.stderr,
            };
            Some(container.stdio(wanted).await.map_err(|error| ApiError::internal(chain(&error)))?)
        } else {
            None
        };
        engine.events.publish(container.event("attach"));
        Ok(Self { engine: Arc::clone(engine), container: Arc::clone(container), request, keys, stdio })
    }

    /// Serves the client until either side ends.
    pub async fn serve(self, mut client: Pin<Box<dyn Duplex>>) {
        let tty = self.container.record().config.tty;
        if self.request.logs && !self.send_logs(&mut client, tty).await {
            return;
        }
        let Some(stdio) = self.stdio else {
            let _ = client.shutdown().await;
            return;
        };
        // A container that will not run leaves nothing to say here: the start's own answer says why.
        let Some(stream) = stdio.ready().await else { return };
        let watcher = tty.then(|| Watcher::new(self.keys));
        if join(client, stream, self.request.stdin, watcher, std::future::ready(())).await == Left::Detached {
            self.engine.events.publish(self.container.event("detach"));
        }
    }

    async fn send_logs(&self, client: &mut Pin<Box<dyn Duplex>>, raw: bool) -> bool {
        let options = logs::Options {
            stdout: self.request.stdout,
            stderr: self.request.stderr,
            raw,
            ..logs::Options::default()
        };
        let Some(log) = logs::Log::of(&self.engine, &self.container) else { return true };
        let (sink, mut pieces) = mpsc::channel(4);
        tokio::spawn(logs::send(log, options, self.container.watch(), sink));
        while let Some(Ok(piece)) = pieces.recv().await {
            if client.write_all(&piece).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// Reads the keys that leave a TTY.
pub fn parse_keys(text: Option<&str>) -> ApiResult<Vec<u8>> {
    detach::parse(text.unwrap_or(detach::DEFAULT)).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// How a joined connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The program's output ended, or the client went away.
    Ended,
    /// The client pressed the detach keys.
    Detached,
}

/// Copies both ways until the program's output ends, the client goes away, or it detaches. The client sees the end
/// when `settled` is reached: what it asks for next must be true by then.
pub async fn join(
    client: Pin<Box<dyn Duplex>>,
    program: UnixStream,
    stdin: bool,
    watcher: Option<Watcher>,
    settled: impl Future<Output = ()>,
) -> Left {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_program, mut to_program) = program.into_split();
    let output = async {
        // A client that is gone shows itself as a failed write.
        let _ = tokio::io::copy(&mut from_program, &mut to_client).await;
        settled.await;
        let _ = to_client.shutdown().await;
    };
    let input = async {
        let left = give_input(&mut from_client, &mut to_program, stdin, watcher).await;
        if left == Left::Ended {
            // Input has ended; output goes on.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = output => Left::Ended,
        () = input => Left::Detached,
    }
}

async fn give_input(
    client: &mut ReadHalf<Pin<Box<dyn Duplex>>>,
    program: &mut OwnedWriteHalf,
    stdin: bool,
    mut watcher: Option<Watcher>,
) -> Left {
    let mut buffer = vec![0; BUFFER];
    let mut passed = Vec::with_capacity(BUFFER);
    let mut open = true;
    loop {
        let read = match client.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        passed.clear();
        let left = match watcher.as_mut() {
            Some(watcher) => watcher.pass(&buffer[..read], &mut passed),
            None => {
                passed.extend_from_slice(&buffer[..read]);
                false
            }
        };
        // A program that reads no more is no reason to stop listening for the detach keys.
        if stdin && open {
            open = program.write_all(&passed).await.is_ok();
        }
        if left {
            return Left::Detached;
        }
    }
    if stdin {
        let _ = program.shutdown().await;
    }
    Left::Ended
}
