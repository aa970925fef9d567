//! Making a template: a VM that is started for no container, brought as far as containers have in common, and saved.
//!
//! ```text
//! base:   boot ──► Hello ─────────────────────────────────────────────► Settle ──► save ──► digests, record, rename
//! image:  copy the base's memory, clone ──► rehearsal, Prepare (image) ──► Settle ──► save, freeze ──► …
//!         the same, not prepared:           rehearsal ───────────────────► Settle ──► save, freeze ──► …
//! ```
//!
//! A base template never sees an image. Its disks are dummies larger than any disk: the guest's drivers are bound to
//! them, and a clone's real disks take their places. An image template has mounted its image over an empty disk and
//! holds an init process that waits for its orders; nothing in it comes from any container but the kind of container
//! it is (`cofferdam_proto::Prepare`). One that is not prepared serves containers of every kind, with disks of their own
//! and bind mounts: it has only its rehearsal behind it, so it is of use only when it is frozen.
//!
//! **Freezing** is for the emulator: its worker process is written to disk whole, with everything that it has translated,
//! and goes on as itself (`cofferdam_hypervisor::Vm::freeze`). It has [`super::rehearsal`] behind it.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_hypervisor::template::{self, Scratch, Template, Templates};
use cofferdam_hypervisor::{Backing, Hypervisor as _, Origin, Vm};
use cofferdam_model::{
    FrozenRecord, NetworkSpec, Resources, TemplateOrder, TemplateRecord, VmInfo, VmStart, random_hex,
};
use cofferdam_proto::{Adopt, Message, Prepare, Request};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::link::Link;
use super::start::boot;
use super::task::VmTask;
use super::worker::{Group, Worker, WorkerSpec, hypervisor, mac_of};
use super::{accelerator, greet, now, rehearsal};
use crate::Error;

/// The size of the dummy disks.
const DUMMY: u64 = 1 << 40;
/// Where a file system has no files of that size.
const SMALL_DUMMY: u64 = 1 << 37;
/// How long a guest is left alone before it is saved: what it still has to do then need not be done in each clone.
const REST: Duration = Duration::from_millis(500);

/// Makes the template and puts it where templates are. `progress` hears a word for each step.
pub async fn make(order: &TemplateOrder, tap: OwnedFd, progress: impl Fn(&str)) -> Result<(), Error> {
    let VmStart::Clone(source) = &order.vm.start else {
        return Err(Error::Hypervisor("a template needs a place".to_owned()));
    };
    let templates = Templates::of(source);
    let failed = |source| Error::Os { doing: "template", source };
    let scratch = templates.begin(&order.key).map_err(failed)?;
    std::fs::create_dir_all(&order.work).map_err(failed)?;
    let made = match &order.image {
        None => base(order, &scratch, tap, &progress).await,
        Some(image) => {
            let base = templates
                .find(&source.base)
                .ok_or_else(|| Error::Hypervisor("the template to begin with is gone".to_owned()))?;
            let prepare: Prepare = serde_json::from_value(image.prepare.clone())
                .map_err(|error| Error::Hypervisor(format!("template order: {error}")))?;
            from_base(order, &scratch, &base, prepare, tap, &progress).await
        }
    };
    std::fs::remove_dir_all(&order.work).ok();
    let record = made?;
    progress("verifying");
    let finishing = tokio::task::spawn_blocking(move || templates.finish(scratch, record)).await;
    finishing.map_err(std::io::Error::other).flatten().map_err(failed)?;
    progress("done");
    Ok(())
}

async fn base(
    order: &TemplateOrder,
    scratch: &Scratch,
    tap: OwnedFd,
    progress: &impl Fn(&str),
) -> Result<TemplateRecord, Error> {
    progress("booting");
    let failed = |source| Error::Os { doing: "template", source };
    let file = std::fs::File::create(scratch.memory()).map_err(failed)?;
    file.set_len(order.vm.memory).map_err(failed)?;
    let (image, writable) = (scratch.other("dummy0"), scratch.other("dummy1"));
    for path in [&image, &writable] {
        let file = std::fs::File::create(path).map_err(failed)?;
        file.set_len(DUMMY).or_else(|_too_large| file.set_len(SMALL_DUMMY)).map_err(failed)?;
    }
    let (guest, mut messages) = Guest::start(order, scratch, boot(&order.vm), &image, &writable, tap).await?;
    let saved = match greet(&*guest.worker.vm, &mut messages).await {
        Ok(hello) => guest.serve(messages).save(order, scratch, progress, hello.kernel).await,
        Err(error) => Err(error),
    };
    let saved = guest.end_after(saved).await;
    for path in [&image, &writable] {
        std::fs::remove_file(path).ok();
    }
    saved
}

async fn from_base(
    order: &TemplateOrder,
    scratch: &Scratch,
    base: &Template,
    prepare: Prepare,
    tap: OwnedFd,
    progress: &impl Fn(&str),
) -> Result<TemplateRecord, Error> {
    progress("cloning");
    let failed = |source| Error::Os { doing: "template", source };
    let Some(image) = &order.image else { return Err(Error::Hypervisor("no image".to_owned())) };
    cofferdam_sys::disk::copy_sparse(&base.memory(), &scratch.memory()).map_err(failed)?;
    cofferdam_sys::disk::copy_sparse(&image.blank, &scratch.disk()).map_err(failed)?;
    let origin = Origin::Saved { state: base.state() };
    let (guest, messages) = Guest::start(order, scratch, origin, &image.image, &scratch.disk(), tap).await?;
    let made = async {
        let ready = guest.serve(messages);
        let freezes = hypervisor(order.vm.kvm).capabilities().freezes;
        if freezes {
            progress("rehearsing");
            ready.rehearse(&prepare, !image.prepared).await?;
        }
        if image.prepared {
            progress("preparing");
            ready.task.ask(Request::Prepare(Box::new(prepare))).await?;
        }
        let mut record = ready.save(order, scratch, progress, base.record.kernel.clone()).await?;
        if freezes {
            record.frozen = freeze(&*ready.worker.vm, scratch, progress).await;
        }
        Ok(record)
    };
    let made = made.await;
    let mut record = guest.end_after(made).await?;
    if !image.prepared {
        std::fs::remove_file(scratch.disk()).map_err(failed)?;
    }
    record.image = image.image.file_stem().map(|name| name.to_string_lossy().into_owned());
    Ok(record)
}

/// Freezes the worker process of a saved VM. A template does without, where that cannot be.
async fn freeze(vm: &dyn Vm, scratch: &Scratch, progress: &impl Fn(&str)) -> Option<FrozenRecord> {
    progress("freezing");
    let frozen = match vm.freeze(&scratch.process(), &scratch.pages()).await {
        Ok(parts) => template::freeze_record(parts).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match frozen {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::warn!("the VM worker process cannot be frozen: {error}");
            for path in [scratch.process(), scratch.pages()] {
                std::fs::remove_file(path).ok();
            }
            None
        }
    }
}

/// The VM that becomes a template.
struct Guest {
    worker: Arc<Worker>,
    link: Link,
}

/// The same, with somebody who takes its answers.
struct Ready {
    worker: Arc<Worker>,
    task: Arc<VmTask>,
}

impl Guest {
    async fn start(
        order: &TemplateOrder,
        scratch: &Scratch,
        origin: Origin,
        image: &Path,
        writable: &Path,
        tap: OwnedFd,
    ) -> Result<(Self, mpsc::Receiver<Message>), Error> {
        let failed = |source| Error::Os { doing: "template", source };
        let uid = Some(order.vm.uid);
        std::os::unix::fs::chown(scratch.memory(), uid, uid).map_err(failed)?;
        let (worker, agent): (Worker, UnixStream) = Worker::start(WorkerSpec {
            name: &order.key,
            vm: &order.vm,
            origin,
            backing: Backing::Shared(scratch.memory()),
            image,
            writable,
            tap: Some(tap),
            mac: mac_of(&NetworkSpec::None),
            group: Group { name: &order.cgroup, limits: &Resources::default(), oom_score_adj: 0 },
            work: &order.work,
            oci_helper: &order.oci_helper,
            shares: &[],
        })
        .await?;
        let (read, write) = agent.into_split();
        let (link, messages) = Link::start(read, write);
        Ok((Self { worker: Arc::new(worker), link }, messages))
    }

    fn serve(&self, messages: mpsc::Receiver<Message>) -> Ready {
        let (link, worker) = (self.link.clone(), Arc::clone(&self.worker));
        let task = VmTask::serve(link, messages, Arc::clone(&worker), VmInfo::default(), false, false);
        Ready { worker, task }
    }

    /// Ends the VM whatever came of it; with its last words when that was a failure.
    async fn end_after(&self, outcome: Result<TemplateRecord, Error>) -> Result<TemplateRecord, Error> {
        let outcome = match outcome {
            Err(Error::Agent(message)) => {
                let words = self.worker.vm.last_words().await;
                Err(Error::Agent(if words.is_empty() {
                    message
                } else {
                    format!("{message}; last words: {words}")
                }))
            }
            outcome => outcome,
        };
        self.worker.end().await;
        outcome
    }
}

impl Ready {
    /// Does once what every clone does first.
    async fn rehearse(&self, prepare: &Prepare, let_disk_go: bool) -> Result<(), Error> {
        let adopt = Adopt { clock_nanos: now(), seed: random_hex(64) };
        self.task.ask(Request::Adopt(adopt)).await?;
        rehearsal::run(&self.task, prepare, let_disk_go).await
    }

    async fn save(
        &self,
        order: &TemplateOrder,
        scratch: &Scratch,
        progress: &impl Fn(&str),
        kernel: String,
    ) -> Result<TemplateRecord, Error> {
        let programs = order.image.as_ref().map_or_else(Vec::new, |image| image.programs.clone());
        self.task.ask(Request::Settle { programs }).await?;
        tokio::time::sleep(REST).await;
        progress("saving");
        self.worker.vm.save(&scratch.state()).await.map_err(|error| Error::Hypervisor(error.to_string()))?;
        Ok(TemplateRecord {
            key: order.key.clone(),
            kernel,
            hypervisor: self.worker.vm.version(),
            accelerator: accelerator(order.vm.kvm).to_owned(),
            cpus: order.vm.cpus,
            memory: order.vm.memory,
            image: None,
            frozen: None,
            created: now() / 1_000_000_000,
            digests: std::collections::BTreeMap::new(),
        })
    }
}
