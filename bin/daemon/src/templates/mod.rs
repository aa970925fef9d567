//! Templates of utility VMs: which a container's VM is cloned from, which are made and when, and how many stay.
//!
//! ```text
//! daemon's start ──► base template of the default class, in the background
//! container's start ─► its class's base template: there, or being made (waited for), or made now ──► VmStart::Clone
//!        │                                                         └ failed, or not wanted ─────────► VmStart::Boot
//!        └─ ran as a clone of the base ──► its image template, in the background ──► bounds: the least used go
//! ```
//!
//! A template is made by a process of its own (`cofferdam-shim --template`, [`make`]), one at a time. Which template a
//! container is really cloned from is the shim's decision: it knows what the container has in common with others.

mod make;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use cofferdam_hypervisor::template::{Templates as Store, identity_of, key_of, memory_class};
use cofferdam_hypervisor::{disk, qemu};
use cofferdam_model::{TemplateOrder, TemplateRecord, TemplateSource, VmSpec, VmStart, bundle};
use tokio::sync::{Mutex as AsyncMutex, watch};

use crate::config::VmConfig;
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult};
use crate::paths::Paths;
use crate::vm;

/// No maker takes longer, the slowest host's included.
const OLDEST_MAKER: Duration = Duration::from_secs(3600);

/// What a VM's template depends on beside programs and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Memory in bytes.
    pub memory: u64,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Whether hardware virtualisation is used.
    pub kvm: bool,
}

/// How making a template went, or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Making {
    /// It is at this step.
    At(String),
    /// It has ended; why it failed, if it did.
    Ended(Option<String>),
}

/// The daemon's templates.
pub struct Templates {
    store: Store,
    directory: PathBuf,
    verified: PathBuf,
    /// What is being made, or was and failed, by key.
    making: Mutex<HashMap<String, watch::Receiver<Making>>>,
    /// Held by whoever makes one.
    maker: AsyncMutex<()>,
    stopping: watch::Sender<bool>,
}

impl Templates {
    /// As configured. Half-made ones of a daemon that died are removed.
    pub fn open(config: &VmConfig, paths: &Paths) -> Self {
        let (directory, verified) = (config.templates.clone(), paths.verified_templates());
        let base = String::new();
        let source = TemplateSource { directory: directory.clone(), verified: verified.clone(), base };
        let store = Store::of(&source);
        // A directory that daemons share may hold what another one is making.
        let own = directory.starts_with(&paths.data_root);
        store.sweep(if own { Duration::ZERO } else { OLDEST_MAKER });
        Self {
            store,
            directory,
            verified,
            making: Mutex::default(),
            maker: AsyncMutex::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// Every complete template: record, bytes on disk, last use.
    pub fn list(&self) -> Vec<(TemplateRecord, u64, SystemTime)> {
        self.store.list()
    }

    /// What is being made, with the step it is at.
    pub fn under_way(&self) -> Vec<(String, String)> {
        let making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = making.iter().filter_map(|(key, state)| match &*state.borrow() {
            Making::At(step) => Some((key.clone(), step.clone())),
            Making::Ended(_) => None,
        });
        under_way.collect()
    }

    /// Removes the template whose key begins so.
    pub fn remove(&self, prefix: &str) -> ApiResult<String> {
        let keys = self.store.list().into_iter().map(|(record, ..)| record.key);
        let mut found = keys.filter(|key| !prefix.is_empty() && key.starts_with(prefix));
        let key = found.next().ok_or_else(|| ApiError::not_found(format!("No such template: {prefix}")))?;
        if found.next().is_some() {
            return Err(ApiError::bad_request(format!("several templates begin with {prefix}")));
        }
        self.store
            .remove(&key)
            .map_err(|error| ApiError::internal(format!("cannot remove the template {key}: {error}")))?;
        // One that failed before may be tried again.
        self.making.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        Ok(key)
    }

    /// Ends what is being made, and waits until it is gone.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let _last = self.maker.lock().await;
    }

    fn source(&self, base: String) -> TemplateSource {
        TemplateSource { directory: self.directory.clone(), verified: self.verified.clone(), base }
    }

    /// Joins who makes this template, or begins to.
    fn watch_or_make(
        self: &Arc<Self>,
        engine: &Shared,
        order: impl FnOnce() -> TemplateOrder,
        key: &str,
        again: bool,
    ) -> watch::Receiver<Making> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = making.get(key)
            && !(again && matches!(*state.borrow(), Making::Ended(Some(_))))
        {
            return state.clone();
        }
        let (sender, state) = watch::channel(Making::At("waiting".to_owned()));
        making.insert(key.to_owned(), state.clone());
        let (engine, templates, order) = (Arc::clone(engine), Arc::clone(self), order());
        tokio::spawn(async move {
            let outcome = templates.make(&engine, order.clone(), &sender).await;
            match &outcome {
                Ok(()) => {
                    // From now on it is found on disk, as long as it stays there.
                    templates.making.lock().unwrap_or_else(PoisonError::into_inner).remove(&order.key);
                }
                Err(error) => tracing::warn!(key = order.key, "cannot make a template: {error}"),
            }
            sender.send_replace(Making::Ended(outcome.err()));
        });
        state
    }

    async fn make(
        &self,
        engine: &Shared,
        mut order: TemplateOrder,
        progress: &watch::Sender<Making>,
    ) -> Result<(), String> {
        let _alone = self.maker.lock().await;
        let stopping = self.stopping.subscribe();
        if *stopping.borrow() {
            return Err("the daemon is stopping".to_owned());
        }
        if self.store.verify(&order.key).map_err(|error| error.to_string())? {
            return Ok(());
        }
        order.vm.uid = vm::template_uid(engine);
        order.vm.user = format!("cfd-template-{}", &order.key[..8]);
        let kept = match &order.vm.start {
            VmStart::Clone(source) => vec![source.base.clone(), order.key.clone()],
            VmStart::Boot { .. } => Vec::new(),
        };
        let step = |step| {
            progress.send_replace(Making::At(step));
        };
        if let Err(error) = make::run(engine, order.clone(), stopping.clone(), step).await {
            // Once in some dozens an emulated guest dies while it boots; what is broken dies again.
            tracing::info!(key = order.key, "making a template failed, trying once more: {error}");
            make::run(engine, order.clone(), stopping, step).await?;
        }
        tracing::info!(key = order.key, "template made");
        self.store.prune(engine.config.vm.bounds, &kept);
        Ok(())
    }
}

/// Makes the base template of the default class in the background, as far as this host has the `hyperv` level.
pub fn prepare(engine: &Shared) {
    if !engine.config.vm.clone || engine.vm.require().is_err() {
        return;
    }
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        let class = vm::default_class(&engine).await;
        if let Err(reason) = ensure_base(&engine, class, false).await {
            tracing::debug!("no template for the default class: {reason}");
        }
    });
}

/// How a VM of this class starts; a template that is being made is waited for, one that is missing is made.
pub async fn start_of(engine: &Shared, class: Class) -> VmStart {
    if !engine.config.vm.clone {
        return VmStart::Boot { reason: String::new() };
    }
    match ensure_base(engine, class, false).await {
        Ok(base) => VmStart::Clone(engine.templates.source(base)),
        Err(reason) => VmStart::Boot { reason },
    }
}

/// The key of the base template of this class, which exists. `again` tries once more what has failed before.
pub async fn ensure_base(engine: &Shared, class: Class, again: bool) -> Result<String, String> {
    let (key, mut state) = watch_base(engine, class, again).await?;
    let ended = state.wait_for(|state| matches!(state, Making::Ended(_))).await;
    match ended.as_deref() {
        Ok(Making::Ended(None)) => Ok(key),
        Ok(Making::Ended(Some(reason))) => Err(reason.clone()),
        _ => Err("the daemon is stopping".to_owned()),
    }
}

/// The same, watched instead of waited for.
pub async fn watch_base(
    engine: &Shared,
    class: Class,
    again: bool,
) -> Result<(String, watch::Receiver<Making>), String> {
    let vm = base_vm(engine, class).map_err(|error| error.to_string())?;
    let key = base_key(engine, class).map_err(|error| error.to_string())?;
    if engine.templates.store.find(&key).is_some() {
        return Ok((key, watch::channel(Making::Ended(None)).1));
    }
    let order = || TemplateOrder {
        key: key.clone(),
        vm: VmSpec { start: VmStart::Clone(engine.templates.source(key.clone())), ..vm },
        oci_helper: engine.pieces.oci.clone(),
        cgroup: String::new(),
        work: PathBuf::new(),
        image: None,
    };
    let state = engine.templates.watch_or_make(engine, order, &key, again);
    Ok((key, state))
}

/// Makes the image template that a container's shim has left an order for, in the background. `programs` are what its
/// image is for.
pub fn want(engine: &Shared, bundle_directory: &Path, programs: Vec<String>) {
    let path = bundle_directory.join(bundle::TEMPLATE_ORDER);
    let order = std::fs::read(&path)
        .and_then(|text| serde_json::from_slice::<TemplateOrder>(&text).map_err(Into::into));
    match order {
        Ok(mut order) => {
            if let Some(image) = &mut order.image {
                image.programs = programs;
            }
            let key = order.key.clone();
            // One that failed fails again: containers of this kind go on as clones of the base.
            engine.templates.watch_or_make(engine, || order, &key, false);
        }
        Err(error) => tracing::warn!("{}: {error}", path.display()),
    }
}

/// The blank disk of a container's size.
pub async fn blank_disk(engine: &Shared) -> ApiResult<PathBuf> {
    let directory = engine.paths.blank_disks();
    let blank = tokio::task::spawn_blocking(move || disk::blank(DISK_SIZE, &directory)).await;
    blank
        .map_err(|error| ApiError::internal(format!("blank disk: {error}")))?
        .map_err(|error| ApiError::from_chain(&error))
}

/// A writable disk's size; it is sparse, so this is a limit, not a use.
const DISK_SIZE: u64 = 20 << 30;

/// A VM of this class, without a container.
fn base_vm(engine: &Shared, class: Class) -> ApiResult<VmSpec> {
    let (qemu, guest) = engine.vm.require()?;
    Ok(VmSpec {
        hypervisor: qemu.to_owned(),
        kernel: guest.kernel.clone(),
        initrd: guest.initrd.clone(),
        memory: class.memory,
        cpus: class.cpus,
        kvm: class.kvm,
        uid: 0,
        user: String::new(),
        start: VmStart::Boot { reason: String::new() },
    })
}

/// Kernel, agent, hypervisor, accelerator, processor, devices, sizes: when any of them changes, so does the key.
fn base_key(engine: &Shared, class: Class) -> ApiResult<String> {
    let (qemu, guest) = engine.vm.require()?;
    let files = identity_of([qemu, &guest.kernel, &guest.initrd])
        .map_err(|error| ApiError::internal(format!("guest files: {error}")))?;
    // With KVM the guest has the host's processor.
    let processor = if class.kvm { vm::processor() } else { String::new() };
    Ok(key_of(&(files, processor, qemu::layout(class.kvm, class.memory, class.cpus))))
}

/// A class for so much memory: what is asked for, and up to a half more, so that few templates serve many.
pub fn class(memory: u64, cpus: u32, kvm: bool) -> Class {
    Class { memory: memory_class(memory), cpus, kvm }
}
