//! Another isolation level for a container that exists.
//!
//! ```text
//! process: upper/ work/ ──► tree (tar) ──► a VM with a new disk ──► digest there ──┐
//! hyperv:  rw.ext4 ──► a VM with it: digest, tree (tar) ──► new upper/ ──► digest ─┴─► record ─► the old is removed
//! ```
//!
//! The levels' forms have names of their own, and the record says which counts. So the new one is made beside the old,
//! digests of the whole trees are compared, and both are on disk before the record is changed, in one statement of the
//! database: that is the switch. What is there of the other level is what a crash has left, and removed
//! ([`sweep`]). Everything else of a container is its record and its status, which stay.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cofferdam_archive::{Bounds, Form, TreeDigest};
use cofferdam_model::{ArchiveOrder, ContainerId, Isolation, State, UnknownIsolation};
use tokio::sync::OwnedMutexGuard;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::actor::{Actor, Command, to_json};
use super::archive::{Job, LONGEST_TEXT, pieces};
use super::bundle::DataDirs;
use super::record::Record;
use super::session::Session;
use super::{Container, create, image, layer, lifecycle, limits, start};
use crate::engine::{Engine, Shared};
use crate::error::{ApiError, ApiResult};

/// The longest that a tree may take from one level to the other: a VM whose disk has no room on the host stops.
const LONGEST: Duration = Duration::from_secs(3600);
/// The same for a step in which nothing arrives.
const LONGEST_STEP: Duration = Duration::from_secs(600);
/// The smallest that a file takes of a disk.
const SMALLEST_FILE: u64 = 128;

/// What stands in the way, if anything.
pub fn dry_run(
    engine: &Engine,
    container: &Container,
    isolation: &str,
    restart: bool,
) -> ApiResult<Vec<String>> {
    let to = parse(isolation)?;
    let record = container.record();
    if to == record.isolation {
        return Ok(Vec::new());
    }
    let mut blockers = blockers(engine, container, &record, to);
    blockers.extend(running(container, restart));
    Ok(blockers)
}

/// Gives the container the level. One that runs is stopped and started again with `restart`, and refused without. Goes on
/// when its client has gone.
pub async fn convert(
    engine: &Shared,
    container: &Arc<Container>,
    isolation: &str,
    restart: bool,
) -> ApiResult<()> {
    let to = parse(isolation)?;
    let (engine, container) = (Arc::clone(engine), Arc::clone(container));
    let task = tokio::spawn(async move { with_restart(&engine, &container, to, restart).await });
    task.await.map_err(|error| ApiError::internal(format!("cannot convert: {error}")))?
}

fn parse(isolation: &str) -> ApiResult<Isolation> {
    let unknown = || ApiError::bad_request(UnknownIsolation(isolation.to_owned()).to_string());
    isolation.to_ascii_lowercase().parse().map_err(|_unknown| unknown())
}

async fn with_restart(
    engine: &Shared,
    container: &Arc<Container>,
    to: Isolation,
    restart: bool,
) -> ApiResult<()> {
    let record = container.record();
    if record.isolation == to {
        return Ok(());
    }
    let mut found = blockers(engine, container, &record, to);
    found.extend(running(container, restart));
    if !found.is_empty() {
        return Err(refusal(container, to, &found));
    }
    let runs = container.status().is_running();
    if runs {
        // One with `--rm` is not removed in between.
        container.set_comes_back(true);
        if let Err(error) = lifecycle::stop(engine, container, None, None).await {
            container.set_comes_back(false);
            return Err(error);
        }
    }
    let converted = at_rest(engine, container, to).await;
    // As it was, or as it is now.
    let started = if runs { lifecycle::start(container).await.map(drop) } else { Ok(()) };
    if runs {
        container.set_comes_back(false);
    }
    converted.and(started)
}

fn refusal(container: &Container, to: Isolation, found: &[String]) -> ApiError {
    ApiError::conflict(format!(
        "cannot convert container {} to isolation {}: {}",
        container.name(),
        to.as_str(),
        found.join("; ")
    ))
}

fn running(container: &Container, restart: bool) -> Option<String> {
    let status = container.status();
    if status.state == State::Removing {
        return Some("it is being removed".to_owned());
    }
    let busy = status.is_running() || status.state == State::Starting;
    (busy && !restart).then(|| "it runs: stop it first, or convert it with --restart".to_owned())
}

/// Everything that the other level cannot express, or that its rules forbid.
fn blockers(engine: &Engine, container: &Container, record: &Record, to: Isolation) -> Vec<String> {
    let mut found = create::beyond(&record.host, to);
    found.extend(image::permits(engine, record, to).err().map(|error| error.message));
    if to == Isolation::Hyperv {
        found.extend(engine.vm.require().err().map(|error| error.message));
        for other in engine.containers.all() {
            let other_record = other.record();
            let Some(name) = other_record.network().strip_prefix("container:") else { continue };
            if engine.containers.find(name).is_ok_and(|joined| joined.id == container.id) {
                found.push(format!("container {} has joined its network", other.name()));
            }
        }
    }
    let whose = limits::Whose::of(to, &engine.config.data_root);
    found.extend(limits::check(&mut record.host.clone(), &whose, &mut Vec::new()).err());
    found
}

async fn at_rest(engine: &Shared, container: &Arc<Container>, to: Isolation) -> ApiResult<()> {
    let alone = container.hold().await?;
    let before = container.record();
    // Somebody may have been faster.
    if before.isolation == to {
        return Ok(());
    }
    let found: Vec<_> =
        blockers(engine, container, &before, to).into_iter().chain(running(container, false)).collect();
    if !found.is_empty() {
        return Err(refusal(container, to, &found));
    }
    let dirs = DataDirs::of(engine, container);
    clear(&dirs, before.isolation).await?;
    let moved = match to {
        Isolation::Hyperv => to_disk(engine, container, &dirs, alone, &before.at(to)).await,
        Isolation::Process => to_directory(engine, container, &dirs, alone, &before).await,
    };
    let switched = match moved {
        Ok(alone) => switch(container, &dirs, to).await.map(|()| alone),
        Err(error) => Err(error),
    };
    match switched {
        Ok(_alone) => {
            // What is left of it costs room only, and the next start of the daemon removes it.
            if let Err(error) = clear(&dirs, to).await {
                tracing::warn!(id = %container.id, "cannot remove the writable layer of the other level: {error}");
            }
            engine.events.publish(container.event("update"));
            Ok(())
        }
        Err(error) => {
            // The record says what counts; it may have been changed before the failure.
            clear(&dirs, container.record().isolation).await.ok();
            Err(error)
        }
    }
}

/// The writable layer of the process level becomes a disk.
async fn to_disk(
    engine: &Shared,
    container: &Arc<Container>,
    dirs: &DataDirs,
    alone: OwnedMutexGuard<()>,
    after: &Record,
) -> ApiResult<OwnedMutexGuard<()>> {
    let session = Session::open_as(engine, container, alone, after).await?;
    let moved = async {
        let sent: Arc<Mutex<Option<TreeDigest>>> = Arc::default();
        let (upper, digest) = (dirs.upper(), Arc::clone(&sent));
        let mut tree = layer::blocking(move |out| {
            let made = cofferdam_archive::layer(&upper, Form::Overlay, &[], out)?;
            *digest.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            Ok(())
        });
        let order = ArchiveOrder::Restore { bytes: u64::MAX, entries: u64::MAX };
        let mut job = Job::within(container, &session, &order).await?;
        let given = in_time(LONGEST, job.give(&mut tree)).await?;
        in_time(LONGEST_STEP, job.end()).await??;
        given.map_err(|error| ApiError::internal(format!("cannot read the writable layer: {error}")))?;
        let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sent = sent.ok_or_else(|| ApiError::internal("the writable layer broke off"))?;
        let arrived = digest_there(container, &session).await?;
        same(&sent.to_string(), &arrived)
    };
    let moved = moved.await;
    let alone = session.close_and_hold().await;
    moved.map(|()| alone)
}

/// A disk becomes a writable layer of the process level.
async fn to_directory(
    engine: &Shared,
    container: &Arc<Container>,
    dirs: &DataDirs,
    alone: OwnedMutexGuard<()>,
    before: &Record,
) -> ApiResult<OwnedMutexGuard<()>> {
    let (root, upper) = (dirs.root.clone(), dirs.upper());
    blocking(move || start::make_data(&root, Isolation::Process)).await??;
    // It was never started.
    let Ok(disk) = std::fs::metadata(dirs.disk()) else { return Ok(alone) };
    let bounds = Bounds { bytes: disk.len(), entries: disk.len() / SMALLEST_FILE };
    let session = Session::open_as(engine, container, alone, before).await?;
    let moved = async {
        let there = digest_there(container, &session).await?;
        let job = Job::within(container, &session, &ArchiveOrder::Tree).await?;
        let tree = StreamReader::new(pieces(job, Vec::new()));
        let restoring = blocking(move || -> io::Result<TreeDigest> {
            let mut tree = SyncIoBridge::new(tree);
            cofferdam_archive::restore(&upper, &mut tree, bounds)?;
            // The helper is at its end when its stream is.
            io::copy(&mut tree, &mut io::sink())?;
            cofferdam_archive::digest(&upper)
        });
        let made = in_time(LONGEST, restoring).await??;
        let made =
            made.map_err(|error| ApiError::internal(format!("cannot make the writable layer: {error}")))?;
        same(&there, &made.to_string())
    };
    let moved = moved.await;
    let alone = session.close_and_hold().await;
    moved.map(|()| alone)
}

async fn digest_there(container: &Arc<Container>, session: &Session) -> ApiResult<String> {
    let mut job = Job::within(container, session, &ArchiveOrder::Digest).await?;
    let line = in_time(LONGEST_STEP, job.first_line(LONGEST_TEXT)).await?;
    in_time(LONGEST_STEP, job.end()).await??;
    let line = line.map(|(line, _)| line).unwrap_or_default();
    serde_json::from_slice(&line)
        .map_err(|error| ApiError::internal(format!("the archive helper's answer: {error}")))
}

fn same(one: &str, other: &str) -> ApiResult<()> {
    if one == other {
        return Ok(());
    }
    Err(ApiError::internal(format!(
        "the copy of the writable layer is not the same (digest {other}, not {one}): the container is as it was"
    )))
}

/// The point of no return. Everything new is on disk before it, and the record is before the old is removed.
async fn switch(container: &Arc<Container>, dirs: &DataDirs, to: Isolation) -> ApiResult<()> {
    to_storage(&dirs.root).await?;
    container.ask(|reply| Command::Convert { to, reply }).await?;
    to_storage(&dirs.root).await
}

impl Record {
    /// The same at another level.
    fn at(&self, level: Isolation) -> Self {
        let mut record = Self { isolation: level, ..self.clone() };
        level.as_str().clone_into(&mut record.host.isolation);
        record
    }
}

impl Actor {
    /// Says which writable layer counts. Limits and networks may have been changed meanwhile.
    pub(super) fn convert(&mut self, to: Isolation) -> ApiResult<()> {
        let record = self.container.record().at(to);
        self.engine.store.set_spec(&self.container.id, &to_json(&record))?;
        self.container.set_record(record);
        Ok(())
    }
}

async fn to_storage(root: &Path) -> ApiResult<()> {
    let root = root.to_owned();
    let synced = blocking(move || -> io::Result<()> { Ok(rustix::fs::syncfs(std::fs::File::open(root)?)?) });
    synced.await?.map_err(|error| ApiError::internal(format!("cannot bring the container to disk: {error}")))
}

/// Removes what there is of the level that a container does not have.
async fn clear(dirs: &DataDirs, isolation: Isolation) -> ApiResult<()> {
    let (upper, work, disk) = (dirs.upper(), dirs.work(), dirs.disk());
    let cleared = blocking(move || -> io::Result<()> {
        match isolation {
            Isolation::Process => match std::fs::remove_file(disk) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Isolation::Hyperv => {
                start::remove_directory(&upper)?;
                start::remove_directory(&work)
            }
        }
    });
    cleared.await?.map_err(|error| {
        ApiError::internal(format!("cannot remove the other level's writable layer: {error}"))
    })
}

/// The same for a container whose conversion the daemon did not survive.
pub(super) async fn sweep(engine: &Engine, id: &ContainerId, isolation: Isolation) {
    let dirs = DataDirs { root: engine.paths.container(id) };
    if let Err(error) = clear(&dirs, isolation).await {
        tracing::warn!(%id, "{error}");
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> ApiResult<T> {
    tokio::time::timeout(limit, work).await.map_err(|_elapsed| {
        ApiError::internal("the utility VM does not go on: is the file system of the data root full?")
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(error.to_string()))
}
