//! Files of a container in and out: `cp`, `export`, `diff`, running or not, at both levels. A helper does it where the
//! container's paths are what they are in there (`cofferdam_model::ArchiveOrder`); this drives it through the shim.

use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use cofferdam_api::stdcopy::{Decoder, Stream};
use cofferdam_model::{ArchiveOrder, ArchiveStat, Change, IoRequest, Isolation, archive_exit, random_hex};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::bundle::DataDirs;
use super::layers::Layers;
use super::session::Session;
use super::shim::Shim;
use super::{Container, image, users};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult, chain};

/// Pieces that wait for who reads slowly.
const BACKLOG: usize = 8;
/// A tar archive ends with so many zeroes.
const TRAILER: usize = 1024;
/// The longest line, and the longest complaint, that a helper may write.
pub(super) const LONGEST_TEXT: usize = 64 << 10;
/// All changes of a container as JSON.
const LONGEST_CHANGES: usize = 256 << 20;
/// What containers have of the engine, and not of their own.
pub(super) const IGNORED: [&str; 7] =
    ["/dev", "/proc", "/sys", "/.dockerenv", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// A helper at work on a container's files.
pub struct Job {
    container: Arc<Container>,
    path: String,
    id: String,
    shim: Shim,
    stream: UnixStream,
    decoder: Decoder,
    complaint: Vec<u8>,
    session: Option<Session>,
}

impl Job {
    /// Starts one.
    pub async fn start(engine: &Shared, container: &Arc<Container>, order: &ArchiveOrder) -> ApiResult<Self> {
        let (shim, session) = reach(engine, container).await?;
        Self::start_at(container, shim, session, order).await
    }

    /// Starts one in a session that goes on after it.
    pub(super) async fn within(
        container: &Arc<Container>,
        session: &Session,
        order: &ArchiveOrder,
    ) -> ApiResult<Self> {
        Self::start_at(container, session.shim()?, None, order).await
    }

    async fn start_at(
        container: &Arc<Container>,
        shim: Shim,
        session: Option<Session>,
        order: &ArchiveOrder,
    ) -> ApiResult<Self> {
        let id = random_hex(32);
        let (path, stdin) = match order {
            ArchiveOrder::Write { path, .. } => (path.clone(), true),
            ArchiveOrder::Restore { .. } => ("/".to_owned(), true),
            ArchiveOrder::Stat { path } | ArchiveOrder::Read { path } => (path.clone(), false),
            _ => ("/".to_owned(), false),
        };
        let starting = async {
            shim.exec(&id, false, stdin, order.to_process()).await?;
            let wanted = IoRequest { exec_id: id.clone(), stdin, stdout: true, stderr: true };
            let stream = shim.attach(&wanted).await?;
            shim.start(&id).await?;
            Ok::<_, super::shim::ShimError>(stream)
        };
        match starting.await {
            Ok(stream) => {
                let container = Arc::clone(container);
                let (decoder, complaint) = (Decoder::default(), Vec::new());
                Ok(Self { container, path, id, shim, stream, decoder, complaint, session })
            }
            Err(error) => {
                let _ = shim.delete(&id).await;
                if let Some(session) = session {
                    session.close().await;
                }
                Err(ApiError::internal(format!("cannot open the container's files: {}", chain(&error))))
            }
        }
    }

    /// The next piece of output; `None` at its end.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) if frame.stream == Stream::Stdout => return Some(frame.payload),
                Ok(Some(frame)) => {
                    let room = LONGEST_TEXT.saturating_sub(self.complaint.len());
                    self.complaint.extend(frame.payload.into_iter().take(room));
                }
                Ok(None) => {
                    let mut buffer = [0; 16 << 10];
                    match self.stream.read(&mut buffer).await {
                        Ok(count @ 1..) => self.decoder.push(&buffer[..count]),
                        _ => return None,
                    }
                }
                Err(_broken) => return None,
            }
        }
    }

    /// The line that output begins with, and what came with it.
    pub(super) async fn first_line(&mut self, longest: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut seen = Vec::new();
        loop {
            seen.extend(self.next().await?);
            if let Some(end) = seen.iter().position(|byte| *byte == b'\n') {
                let rest = seen.split_off(end + 1);
                return Some((seen, rest));
            }
            if seen.len() > longest {
                return None;
            }
        }
    }

    /// Sends it everything. A helper that has failed reads no more: its end is the end of the sending, too.
    pub(super) async fn give(&mut self, archive: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
        let (mut reader, mut writer) = self.stream.split();
        let give = async {
            let copied = tokio::io::copy(archive, &mut writer).await;
            let _ = writer.shutdown().await;
            copied
        };
        let mut early = vec![0; 16 << 10];
        tokio::pin!(give);
        loop {
            tokio::select! {
                copied = &mut give => return copied.map(drop),
                read = reader.read(&mut early) => match read {
                    Ok(count @ 1..) => self.decoder.push(&early[..count]),
                    _ => return Ok(()),
                },
            }
        }
    }

    /// Waits for the helper's end; why it failed, if it did.
    pub async fn end(mut self) -> ApiResult<()> {
        while self.next().await.is_some() {}
        let ended = self.shim.wait(&self.id).await;
        let _ = self.shim.delete(&self.id).await;
        if let Some(session) = self.session {
            session.close().await;
        }
        let code = ended.map_err(|error| ApiError::from_chain(&error))?.code;
        let complaint = String::from_utf8_lossy(&self.complaint).trim_end().to_owned();
        match u8::try_from(code).unwrap_or(u8::MAX) {
            0 => Ok(()),
            archive_exit::NOT_FOUND => Err(ApiError::not_found(format!(
                "Could not find the file {} in container {}",
                self.path, self.container.id
            ))),
            archive_exit::NOT_A_DIRECTORY | archive_exit::INVALID => Err(ApiError::bad_request(complaint)),
            archive_exit::READ_ONLY if self.container.record().host.readonly_rootfs => {
                Err(ApiError::forbidden("container rootfs is marked read-only"))
            }
            archive_exit::READ_ONLY => Err(ApiError::forbidden("mounted volume is marked read-only")),
            code if complaint.is_empty() => {
                Err(ApiError::internal(format!("the archive helper ended with status {code}")))
            }
            _ => Err(ApiError::internal(complaint)),
        }
    }

    /// Ends it before its end: nobody wants the rest.
    pub async fn cancel(self) {
        let _ = self.shim.kill(&self.id, 9, false).await;
        let _ = self.end().await;
    }
}

/// A helper's archive as it is made. One that breaks off ends with an error: half of it must not look like all.
pub fn pieces(mut job: Job, begun: Vec<u8>) -> ReceiverStream<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        let mut zeroes = 0;
        let mut piece = (!begun.is_empty()).then_some(begun);
        loop {
            let next = match piece.take() {
                Some(piece) => Some(piece),
                None => tokio::select! {
                    next = job.next() => next,
                    () = sender.closed() => return job.cancel().await,
                },
            };
            let Some(bytes) = next else { break };
            let tail = bytes.iter().rev().take_while(|byte| **byte == 0).count();
            zeroes = if tail == bytes.len() { zeroes + tail } else { tail };
            if sender.send(Ok(bytes.into())).await.is_err() {
                return job.cancel().await;
            }
        }
        let whole = zeroes >= TRAILER;
        let ended = job.end().await;
        if let Some(why) = ended.err().map(|error| error.message).or((!whole).then(|| "cut off".to_owned())) {
            tracing::warn!("an archive broke off: {why}");
            let _ = sender.send(Err(io::Error::other(why))).await;
        }
    });
    ReceiverStream::new(receiver)
}

/// The shim of a running container, or one that was made for looking at its files.
async fn reach(engine: &Shared, container: &Arc<Container>) -> ApiResult<(Shim, Option<Session>)> {
    if let (true, Some(shim)) = (container.status().state.is_live(), container.shim()) {
        return Ok((shim, None));
    }
    let alone = container.hold().await?;
    // It may have been started while we waited.
    if let (true, Some(shim)) = (container.status().state.is_live(), container.shim()) {
        return Ok((shim, None));
    }
    if container.status().removed {
        return Err(ApiError::not_found(format!("No such container: {}", container.id)));
    }
    let session = Session::open(engine, container, alone).await?;
    match session.shim() {
        Ok(shim) => Ok((shim, Some(session))),
        Err(error) => {
            session.close().await;
            Err(error)
        }
    }
}

/// What a path is.
pub async fn stat(engine: &Shared, container: &Arc<Container>, path: &str) -> ApiResult<ArchiveStat> {
    let mut job = Job::start(engine, container, &ArchiveOrder::Stat { path: path.to_owned() }).await?;
    let line = job.first_line(LONGEST_TEXT).await;
    job.end().await?;
    read_stat(line.map(|(line, _)| line))
}

/// A path's content as tar: what it is, the job, and the archive's beginning.
pub async fn read(
    engine: &Shared,
    container: &Arc<Container>,
    path: &str,
) -> ApiResult<(ArchiveStat, Job, Vec<u8>)> {
    let mut job = Job::start(engine, container, &ArchiveOrder::Read { path: path.to_owned() }).await?;
    let Some((line, rest)) = job.first_line(LONGEST_TEXT).await else {
        job.end().await?;
        return Err(ApiError::internal("the archive helper said nothing"));
    };
    match read_stat(Some(line)) {
        Ok(stat) => {
            engine.events.publish(container.event("archive-path"));
            Ok((stat, job, rest))
        }
        Err(error) => {
            job.cancel().await;
            Err(error)
        }
    }
}

fn read_stat(line: Option<Vec<u8>>) -> ApiResult<ArchiveStat> {
    serde_json::from_slice(&line.unwrap_or_default())
        .map_err(|error| ApiError::internal(format!("the archive helper's answer: {error}")))
}

/// Docker's form of it.
pub fn stat_json(stat: &ArchiveStat) -> Value {
    let nanos = i32::try_from(stat.nanos).unwrap_or(0);
    let time = jiff::Timestamp::new(stat.seconds, nanos).unwrap_or_default();
    json!({
        "name": stat.name,
        "size": stat.size,
        "mode": stat.mode,
        "mtime": time.to_string(),
        "linkTarget": stat.link_target,
    })
}

/// Extracts a tar archive in the container. `own` gives everything to the container's user.
pub async fn write(
    engine: &Shared,
    container: &Arc<Container>,
    path: &str,
    keep_kinds: bool,
    own: bool,
    mut archive: impl AsyncRead + Unpin,
) -> ApiResult<()> {
    let owner = if own { owner(engine, container).await? } else { None };
    let order = ArchiveOrder::Write { path: path.to_owned(), keep_kinds, owner };
    let mut job = Job::start(engine, container, &order).await?;
    let copied = job.give(&mut archive).await;
    if let Err(error) = &copied
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        // The client went away in the middle.
        tracing::debug!(id = %container.id, "an archive ended early: {error}");
    }
    job.end().await?;
    copied.map_err(|error| ApiError::bad_request(format!("cannot read the archive: {error}")))?;
    engine.events.publish(container.event("extract-to-dir"));
    Ok(())
}

/// The container's user, unless that is root.
async fn owner(engine: &Shared, container: &Arc<Container>) -> ApiResult<Option<(u32, u32)>> {
    let record = container.record();
    if record.config.user.is_empty() {
        return Ok(None);
    }
    let lower = image::lower_dirs(engine, &record).await?;
    let upper = DataDirs::of(engine, container).upper();
    let resolving = tokio::task::spawn_blocking(move || {
        let upper = (record.isolation == Isolation::Process).then_some(upper);
        let layers = Layers::open(upper.iter().chain(&lower).map(std::path::PathBuf::as_path))?;
        users::resolve(&layers, &record.config.user, &[])
    });
    let user = resolving.await.map_err(|error| ApiError::internal(error.to_string()))?;
    let user =
        user.map_err(|error| ApiError::internal(format!("cannot read the container's users: {error}")))?;
    let user = user.map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(Some((user.uid, user.gid)))
}

/// What the container has changed.
pub async fn changes(engine: &Shared, container: &Arc<Container>) -> ApiResult<Vec<Change>> {
    let record = container.record();
    let dirs = DataDirs::of(engine, container);
    if record.isolation == Isolation::Process {
        let (lower, upper) = (image::lower_dirs(engine, &record).await?, dirs.upper());
        let comparing = tokio::task::spawn_blocking(move || {
            let lower: Vec<_> = lower.iter().map(std::path::PathBuf::as_path).collect();
            cofferdam_archive::changes(&upper, &lower, &IGNORED)
        });
        let changes = comparing.await.map_err(|error| ApiError::internal(error.to_string()))?;
        return changes.map_err(|error| ApiError::internal(format!("cannot compare the layers: {error}")));
    }
    if !dirs.disk().exists() {
        return Ok(Vec::new());
    }
    let ignored = IGNORED.map(str::to_owned).to_vec();
    let mut job = Job::start(engine, container, &ArchiveOrder::Changes { ignored }).await?;
    let line = job.first_line(LONGEST_CHANGES).await;
    job.end().await?;
    serde_json::from_slice(&line.map(|(line, _)| line).unwrap_or_default())
        .map_err(|error| ApiError::internal(format!("the archive helper's answer: {error}")))
}
