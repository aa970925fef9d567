//! Making a template: a VM that is started for no container, brought as far as containers have in common, and saved.
//!
//! ```text
//! base:   boot ──► Hello ─────────────────────────────────────► Settle ──► save ──► digests, record, rename
//! image:  copy the base's memory, clone ──► Prepare (image) ──► Settle ──► save ──► …
//! ```
//!
//! A base template never sees an image. Its disks are dummies larger than any disk: the guest's drivers are bound to
//! them, and a clone's real disks take their places. An image template has mounted its image over an empty disk and
//! holds an init process that waits for its orders; nothing in it comes from any container but the kind of container
//! it is (`cofferdam_proto::Prepare`).

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use cofferdam_hypervisor::template::{Scratch, Template, Templates};
use cofferdam_hypervisor::{Backing, Origin};
use cofferdam_model::{NetworkSpec, TemplateOrder, TemplateRecord, VmStart};
use cofferdam_proto::{Message, Prepare, Request};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::link::Link;
use super::start::boot;
use super::worker::{Group, Worker, WorkerSpec, mac_of};
use super::{accelerator, greet, now};
use crate::Error;

/// The size of the dummy disks.
const DUMMY: u64 = 1 << 40;
/// Where a file system has no files of that size.
const SMALL_DUMMY: u64 = 1 << 37;
/// How long the agent may take for each request.
const ANSWER_TIME: Duration = Duration::from_secs(60);
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
    let mut guest = Guest::start(order, scratch, boot(&order.vm), &image, &writable, tap).await?;
    let saved = match greet(&*guest.worker.vm, &mut guest.messages).await {
        Ok(hello) => guest.save(order, scratch, progress, hello.kernel).await,
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
    let mut guest = Guest::start(order, scratch, origin, &image.image, &scratch.disk(), tap).await?;
    progress("preparing");
    let saved = match guest.ask(Request::Prepare(Box::new(prepare))).await {
        Ok(()) => guest.save(order, scratch, progress, base.record.kernel.clone()).await,
        Err(error) => Err(error),
    };
    let mut record = guest.end_after(saved).await?;
    record.image = image.image.file_stem().map(|name| name.to_string_lossy().into_owned());
    Ok(record)
}

/// The VM that becomes a template.
struct Guest {
    worker: Worker,
    link: Link,
    messages: mpsc::Receiver<Message>,
}

impl Guest {
    async fn start(
        order: &TemplateOrder,
        scratch: &Scratch,
        origin: Origin,
        image: &Path,
        writable: &Path,
        tap: OwnedFd,
    ) -> Result<Self, Error> {
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
            group: Group { name: &order.cgroup, nano_cpus: None, cpu_shares: None },
            work: &order.work,
            oci_helper: &order.oci_helper,
            shares: &[],
        })
        .await?;
        let (read, write) = agent.into_split();
        let (link, messages) = Link::start(read, write);
        Ok(Self { worker, link, messages })
    }

    /// Asks one thing and waits for the answer.
    async fn ask(&mut self, request: Request) -> Result<(), Error> {
        self.link.send(&Message::Request { id: 1, request });
        let answer = tokio::select! {
            answer = tokio::time::timeout(ANSWER_TIME, self.messages.recv()) => answer,
            reason = self.worker.vm.ended() => return Err(Error::Agent(reason)),
        };
        match answer {
            Ok(Some(Message::Response { .. })) => Ok(()),
            Ok(Some(Message::Failure { message, .. })) => Err(Error::Agent(message)),
            Ok(Some(_)) => Err(Error::Agent("a message out of place".to_owned())),
            Ok(None) => Err(Error::Agent(self.link.closed().await)),
            Err(_elapsed) => Err(Error::Agent("did not answer".to_owned())),
        }
    }

    async fn save(
        &mut self,
        order: &TemplateOrder,
        scratch: &Scratch,
        progress: &impl Fn(&str),
        kernel: String,
    ) -> Result<TemplateRecord, Error> {
        let programs = order.image.as_ref().map_or_else(Vec::new, |image| image.programs.clone());
        self.ask(Request::Settle { programs }).await?;
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
            created: now() / 1_000_000_000,
            digests: std::collections::BTreeMap::new(),
        })
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
