//! One probe: a program executed in the container for the daemon itself.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cofferdam_api::go_duration;
use cofferdam_api::stdcopy::Decoder;
use jiff::Timestamp;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::exec::{self, ExecRequest, Starting};
use super::super::{Container, signals};
use super::{Check, Probed};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};

/// What is kept of a probe's output.
const LONGEST_OUTPUT: usize = 4096;
/// Starting an exec is not the program's time, but has a bound too. Docker's.
const LONGEST_START: Duration = Duration::from_secs(30);
/// How long a killed probe's end is waited for.
const LONGEST_END: Duration = Duration::from_secs(10);

/// A probe that runs. Dropping it kills its program, and does not wait for that.
pub(super) struct Probe {
    // Its drop is what the task hears.
    _kill: oneshot::Sender<()>,
    task: JoinHandle<Probed>,
}

impl Probe {
    /// Runs one.
    pub(super) fn start(engine: &Shared, container: &Arc<Container>, check: &Check) -> Self {
        let (engine, container, check) = (Arc::clone(engine), Arc::clone(container), check.clone());
        let (kill, killed) = oneshot::channel();
        Self { _kill: kill, task: tokio::spawn(run(engine, container, check, killed)) }
    }

    /// Its result. May be asked again after it was not waited for.
    pub(super) async fn result(&mut self) -> Probed {
        match (&mut self.task).await {
            Ok(probed) => probed,
            Err(error) => failed(Timestamp::now(), format!("the probe ended unexpectedly: {error}")),
        }
    }

    /// Ends it, and waits until its program is gone.
    pub(super) async fn stop(self) {
        drop(self._kill);
        // Bounded inside.
        let _ = self.task.await;
    }
}

fn failed(start: Timestamp, output: String) -> Probed {
    Probed { start, end: Timestamp::now(), exit_code: -1, output }
}

async fn run(
    engine: Shared,
    container: Arc<Container>,
    check: Check,
    killed: oneshot::Receiver<()>,
) -> Probed {
    let start = Timestamp::now();
    match attempt(&engine, &container, &check, killed).await {
        Ok((exit_code, output)) => Probed { start, end: Timestamp::now(), exit_code, output },
        Err(error) => {
            tracing::debug!(id = %container.id, "health check: {error}");
            failed(start, error.message)
        }
    }
}

async fn attempt(
    engine: &Shared,
    container: &Arc<Container>,
    check: &Check,
    killed: oneshot::Receiver<()>,
) -> ApiResult<(i32, String)> {
    let request = ExecRequest {
        attach_stdout: true,
        attach_stderr: true,
        cmd: check.words.clone(),
        ..ExecRequest::default()
    };
    let id = exec::create(engine, container, request)?;
    let outcome = execute(engine, container, check, &id, killed).await;
    // Nobody asks for it again.
    container.execs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    outcome
}

async fn execute(
    engine: &Shared,
    container: &Arc<Container>,
    check: &Check,
    id: &str,
    killed: oneshot::Receiver<()>,
) -> ApiResult<(i32, String)> {
    let (_, exec) = exec::find(engine, id)?;
    let starting = Starting::begin(engine, Arc::clone(container), Arc::clone(&exec))?;
    let stream = timeout(LONGEST_START, starting.attached()).await.map_err(|_elapsed| {
        ApiError::internal(format!("timed out starting health check for container {}", container.id))
    })??;
    let mut output = Output::default();
    let in_time = tokio::select! {
        // Nobody may be left to be told, but an end is an end.
        () = output.fill(stream) => true,
        () = tokio::time::sleep(check.timeout) => false,
        _ = killed => false,
    };
    if !in_time {
        // It may have ended in this moment.
        let _ = starting.signal(signals::KILL).await;
        let _ = timeout(LONGEST_END, exec.ended()).await;
        let limit = go_duration(check.timeout);
        let text = output.text();
        let colon = if text.is_empty() { "" } else { ": " };
        return Ok((-1, format!("Health check exceeded timeout ({limit}){colon}{text}")));
    }
    exec.ended().await;
    let code = exec.exit_code().ok_or_else(|| {
        ApiError::internal(format!("healthcheck for container {} has no exit code", container.id))
    })?;
    Ok((code, output.text()))
}

/// The begin of what a probe prints.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Output {
    /// Reads to the end; what is too much is read too, so that the program does not wait.
    async fn fill(&mut self, mut stream: UnixStream) {
        let mut decoder = Decoder::default();
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            decoder.push(&piece[..count]);
            while let Ok(Some(frame)) = decoder.next_frame() {
                self.take(&frame.payload);
            }
        }
    }

    fn take(&mut self, payload: &[u8]) {
        let room = LONGEST_OUTPUT - self.bytes.len();
        self.truncated |= payload.len() > room;
        self.bytes.extend_from_slice(&payload[..payload.len().min(room)]);
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        if self.truncated { format!("{text}...") } else { text.into_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_limited() {
        let mut output = Output::default();
        output.take(&[b'x'; LONGEST_OUTPUT]);
        assert_eq!(output.text().len(), LONGEST_OUTPUT);
        output.take(b"y");
        assert_eq!(output.text(), format!("{}...", "x".repeat(LONGEST_OUTPUT)));
    }
}
