//! Containers' logs: what their options mean, where they are, and reading them while they are written.

mod attributes;
mod follow;
pub mod options;
mod place;
mod reading;
mod render;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

pub use place::{Log, shown_path, spec};
use reading::{Reading, Step};

use super::record::Status;

/// What a client wants to see.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Standard output (and a TTY's output).
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Whether to wait for more while the container runs.
    pub follow: bool,
    /// Whether each line begins with its time.
    pub timestamps: bool,
    /// Whether each line has what the log's options say with it.
    pub details: bool,
    /// Only the last lines.
    pub tail: Option<usize>,
    /// Unix nanoseconds.
    pub since: Option<i64>,
    /// Unix nanoseconds.
    pub until: Option<i64>,
    /// Whether output is raw (a TTY's) instead of in stdcopy frames.
    pub raw: bool,
}

/// Where read log goes. A closed one ends the reading.
pub type Sink = mpsc::Sender<std::io::Result<Bytes>>;

/// Sends what the client wants until there is no more, or until the client goes away.
pub async fn send(log: Log, options: Options, status: watch::Receiver<Arc<Status>>, sink: Sink) {
    if let Err(error) = read(log, options, status, &sink).await {
        // Nobody listens when the client went away.
        let _ = sink.send(Err(error)).await;
    }
}

async fn read(
    log: Log,
    options: Options,
    mut status: watch::Receiver<Arc<Status>>,
    sink: &Sink,
) -> std::io::Result<()> {
    let (follow, until) = (options.follow, options.until);
    let (mut watch, watched) = match follow {
        true => follow::watch().map(|(watch, watched)| (Some(watch), Some(watched)))?,
        false => (None, None),
    };
    let mut reading = blocking(move || Reading::open(log, options, watched)).await?;
    loop {
        // Before the files, so that nothing written before the end is missed.
        let live = status.borrow_and_update().state.is_live();
        loop {
            let step;
            (reading, step) = blocking(move || {
                let step = reading.step()?;
                Ok((reading, step))
            })
            .await?;
            match step {
                Step::Output(output) => {
                    if sink.send(Ok(output.into())).await.is_err() {
                        return Ok(());
                    }
                }
                Step::Idle => break,
                Step::End => return Ok(()),
            }
        }
        let Some(watch) = watch.as_mut().filter(|_| live && !reading.has_ended()) else { return Ok(()) };
        tokio::select! {
            changed = watch.changed() => changed?,
            _ = status.changed() => {}
            () = sink.closed() => return Ok(()),
            () = tokio::time::sleep(follow::deadline(until)) => return Ok(()),
        }
    }
}

/// Off the threads that serve requests; what waits for a client is not in there.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests;
