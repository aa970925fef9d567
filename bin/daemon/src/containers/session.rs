//! Looking at a container's files while it does not run: it is made as for a start, up to the point where only its
//! program is missing, and then taken down again. So its overlay and its volumes are where they belong; at the hyperv
//! level it is a utility VM that mounts the disk, and never the host. It has no network, and an ID of its own, which
//! no record knows: should the daemon die, the next one sweeps it away.

use std::path::PathBuf;
use std::sync::Arc;

use cofferdam_model::{ContainerId, Isolation, LogSpec, NetworkSpec};
use cofferdam_store::Wanted;
use tokio::sync::OwnedMutexGuard;

use super::actor::to_json;
use super::bundle::{self, DataDirs};
use super::record::Record;
use super::shim::Shim;
use super::{Container, image, start};
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult, chain};
use crate::vm;

/// A container at rest, with its files in place.
pub(super) struct Session {
    engine: Shared,
    container: Arc<Container>,
    bundle: PathBuf,
    cgroup: String,
    shim: Option<Shim>,
    isolation: Isolation,
    alone: OwnedMutexGuard<()>,
}

impl Session {
    /// Makes it; `alone` says that the container does not run.
    pub(super) async fn open(
        engine: &Shared,
        container: &Arc<Container>,
        alone: OwnedMutexGuard<()>,
    ) -> ApiResult<Self> {
        Self::open_as(engine, container, alone, &container.record()).await
    }

    /// The same as if this were the container's record.
    pub(super) async fn open_as(
        engine: &Shared,
        container: &Arc<Container>,
        alone: OwnedMutexGuard<()>,
        record: &Record,
    ) -> ApiResult<Self> {
        let id = ContainerId::random();
        let mut session = Self {
            engine: Arc::clone(engine),
            container: Arc::clone(container),
            bundle: engine.paths.bundle(&id),
            cgroup: format!("{}/{id}", engine.instance.cgroup_parent()),
            shim: None,
            isolation: record.isolation,
            alone,
        };
        match session.make(&id, record).await {
            Ok(()) => Ok(session),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    /// Its shim.
    pub(super) fn shim(&self) -> ApiResult<Shim> {
        self.shim.clone().ok_or_else(|| ApiError::internal("the session has no shim"))
    }

    async fn make(&mut self, id: &ContainerId, record: &Record) -> ApiResult<()> {
        let (engine, container) = (&self.engine, &self.container);
        let record = at_rest(record);
        let (files, lower) = image::files(engine, &record).await?;
        let vm = match record.isolation {
            Isolation::Process => None,
            Isolation::Hyperv => {
                let wanted = Wanted { uid: Some(vm::uid_pool(engine)), ..Wanted::default() };
                let state = to_json(&*container.status());
                let leases = engine.store.begin_start(&container.id, wanted, |_| state)?;
                let uid = leases.uid.ok_or_else(|| ApiError::internal("no user id was leased"))?;
                let mut vm = start::vm_spec(engine, container, &record, uid).await?;
                vm.spec.user = format!("cfd-{}", id.short());
                Some(vm)
            }
        };
        let mut spec = bundle::shim_spec(engine, container, files, NetworkSpec::None, vm, LogSpec::none());
        spec.id = id.clone();
        spec.isolation = record.isolation;
        (spec.discard, spec.terminal, spec.open_stdin) = (false, false, false);
        bundle::write_order(&self.bundle, &spec)
            .map_err(|error| ApiError::internal(format!("cannot make the bundle: {error}")))?;
        let shim = Shim::spawn(&engine.pieces.shim, &self.bundle, id.as_str());
        let shim = self.shim.insert(shim.map_err(|error| ApiError::from_chain(&error))?);
        let writing = {
            let (engine, dirs) = (Arc::clone(engine), DataDirs::of(engine, container));
            let (bundle, cgroup) = (self.bundle.clone(), self.cgroup.clone());
            tokio::task::spawn_blocking(move || {
                bundle::write_for(&engine, &record, &dirs, &bundle, &cgroup, &lower, &[])
            })
        };
        writing.await.map_err(|error| ApiError::internal(format!("cannot write the bundle: {error}")))??;
        tokio::time::timeout(start::LONGEST_CREATE, shim.create(false))
            .await
            .map_err(|_elapsed| ApiError::internal("the container's shim did not answer in time"))?
            .map_err(|error| {
                ApiError::internal(format!("cannot open the container's files: {}", chain(&error)))
            })?;
        Ok(())
    }

    /// Takes it down; what was written is on the container's disk afterwards.
    pub(super) async fn close(self) {
        drop(self.close_and_hold().await);
    }

    /// The same, and nobody else may have the container yet.
    pub(super) async fn close_and_hold(mut self) -> OwnedMutexGuard<()> {
        start::take_down_at(&self.container.id, self.bundle, self.cgroup, self.shim.take()).await;
        if self.isolation == Isolation::Hyperv
            && let Err(error) =
                self.engine.store.set_stopped(&self.container.id, &to_json(&*self.container.status()))
        {
            tracing::error!(id = %self.container.id, "cannot give a lease back: {}", chain(&error));
        }
        self.alone
    }
}

/// The container as far as its files go: no program of its own, no network, nobody's terminal.
fn at_rest(record: &Record) -> Record {
    let mut record = record.clone();
    // Something that is there in every container; it never runs.
    "/proc/self/exe".clone_into(&mut record.path);
    record.args = Vec::new();
    record.config.user = String::new();
    record.config.working_dir = String::new();
    record.config.tty = false;
    record.config.open_stdin = false;
    record.host.group_add = None;
    "none".clone_into(&mut record.host.network_mode);
    record.host.init = None;
    record.host.auto_remove = false;
    record
}
