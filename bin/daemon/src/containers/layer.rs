//! A container's writable layer as a layer of an image, running or not, at both levels.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Bytes;
use cofferdam_archive::Form;
use cofferdam_model::{ArchiveOrder, Isolation};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;

use super::Container;
use super::archive::{IGNORED, Job, pieces};
use super::bundle::DataDirs;
use crate::engine::Shared;
use crate::error::ApiResult;

/// How much is read at once, and how often that may wait.
const PIECE: usize = 64 << 10;
const BACKLOG: usize = 8;

/// The layer as tar; one that breaks off ends with an error. What containers have of the engine is left out.
pub async fn layer(
    engine: &Shared,
    container: &Arc<Container>,
) -> ApiResult<Box<dyn AsyncRead + Send + Unpin>> {
    let dirs = DataDirs::of(engine, container);
    if container.record().isolation == Isolation::Process {
        let upper = dirs.upper();
        return Ok(blocking(move |out| cofferdam_archive::layer(&upper, Form::Oci, &IGNORED, out).map(drop)));
    }
    if !dirs.disk().exists() {
        // It was never started: an archive of nothing.
        return Ok(Box::new(io::Cursor::new(vec![0; 1024])));
    }
    let order = ArchiveOrder::Layer { ignored: IGNORED.map(str::to_owned).to_vec() };
    let job = Job::start(engine, container, &order).await?;
    Ok(Box::new(StreamReader::new(pieces(job, Vec::new()))))
}

/// What a thread writes, as a stream.
pub(super) fn blocking(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Box<dyn AsyncRead + Send + Unpin> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::task::spawn_blocking(move || {
        let mut out = io::BufWriter::with_capacity(PIECE, Pieces(sender.clone()));
        let written = write(&mut out).and_then(|()| out.flush());
        // What is in it must not be written once more.
        drop(out.into_parts());
        if let Err(error) = written {
            let _ = sender.blocking_send(Err(error));
        }
    });
    Box::new(StreamReader::new(ReceiverStream::new(receiver)))
}

struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_gone| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
