//! The hyperv level: a utility VM for each container, in which the agent runs it through [`crate::process`].
//!
//! ```text
//! VmIsolation::create
//!   1 rewrite the OCI specification for the guest: what many containers share, and what is this one's (guest_spec)
//!   2 choose how to start: image template, template, boot; make the disk                              (start)
//!   3 cgroup, user name, share server, jailed VM worker process                                       (worker)
//!   4 wait for the agent's Hello when the guest boots; a clone has said it long ago
//!   5 Adopt (entropy, clock), Prepare unless the template has done it, Create (identity, program)    (task, link)
//! ```
//!
//! When a clone does not come to life the next way is tried, down to a boot. [`template`] makes templates.
//!
//! **Pause freezes the container in the guest**, not the VM: `top`, `kill` and `delete` must work on a paused
//! container as they do at the process level, and those need an agent that answers. The guest kernel's idle loop
//! costs the host next to nothing.
//!
//! **The guest is not trusted.** Whatever it sends is bounded and checked by `cofferdam_proto`; every wait for it has
//! an end; when it breaks the protocol the VM is killed. Its container then has exited with 137, as one whose init
//! process was killed.

mod guest_spec;
mod limits;
pub mod link;
mod rehearsal;
mod start;
mod task;
pub mod template;
mod worker;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use cofferdam_hypervisor::Vm;
use cofferdam_model::{RootfsSpec, ShimSpec, VmInfo, VmSpec, VmStart, bundle, random_hex};
use cofferdam_proto::{Adopt, CreateContainer, Hello, Message, Request, Response, StreamIds};
use cofferdam_sys::trace::mark;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use self::guest_spec::GuestSpec;
use self::link::Link;
use self::start::{Disks, Start};
use self::task::VmTask;
use self::worker::{Group, Worker, WorkerSpec, mac_of};
use crate::{CreateRequest, Error, Isolation, Process, Task};

/// How long a guest may take to boot. Emulated on a busy host it was seen to take 15 seconds.
const BOOT_TIME: Duration = Duration::from_secs(90);

/// How long a clone may take to show that it lives.
const ADOPT_TIME: Duration = Duration::from_secs(20);

/// Creates containers in utility VMs.
pub struct VmIsolation {
    spec: ShimSpec,
    tap: Mutex<Option<OwnedFd>>,
}

impl VmIsolation {
    /// For the container that `spec` describes; `tap` joins the guest to its network.
    #[must_use]
    pub fn new(spec: ShimSpec, tap: Option<OwnedFd>) -> Self {
        Self { spec, tap: Mutex::new(tap) }
    }
}

#[async_trait]
impl Isolation for VmIsolation {
    async fn create(&self, request: CreateRequest) -> Result<(Arc<dyn Task>, Process), Error> {
        let vm = self.spec.vm.as_ref().ok_or_else(|| Error::Hypervisor("no VM is specified".to_owned()))?;
        let path = request.bundle.join(bundle::OCI_SPEC);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Path { path, source })?;
        let guest = GuestSpec::rewrite(&text, &self.spec, &request)?;
        let tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner).take();
        let RootfsSpec::Disks { image, writable, blank } = &self.spec.rootfs else {
            return Err(Error::Hypervisor("a VM needs disks, not an overlay".to_owned()));
        };
        let disks = Disks { image, writable, blank, is_new: !writable.exists() };
        let (starts, wanted) = Start::possible(vm, &guest, &disks);
        if let Some(order) = &wanted {
            order.write(&self.spec, &request.bundle)?;
        }
        let mut reason = match &vm.start {
            VmStart::Boot { reason } => reason.clone(),
            VmStart::Clone(_) => String::new(),
        };
        for start in starts {
            disks.make(&start)?;
            mark("disk");
            let attempt = Attempt {
                spec: &self.spec,
                vm,
                guest: &guest,
                disks: &disks,
                start: &start,
                reason: &reason,
                template_wanted: wanted.is_some(),
            };
            let tap = tap.as_ref().map(OwnedFd::try_clone).transpose();
            let tap = tap.map_err(|source| Error::Os { doing: "TAP device", source })?;
            match attempt.run(&request, tap).await {
                // The VM is at fault, not what was asked of it: a boot may do where a clone did not.
                Err(error @ (Error::Hypervisor(_) | Error::Agent(_))) if !matches!(start, Start::Boot) => {
                    tracing::warn!(id = %self.spec.id, how = start.name(), "cannot start the VM this way: {error}");
                    reason = format!("{} failed: {error}", start.name());
                    disks.discard_new();
                }
                outcome => return outcome,
            }
        }
        Err(Error::Hypervisor("there is no way to start the VM".to_owned()))
    }
}

/// One try at starting a container's VM.
struct Attempt<'a> {
    spec: &'a ShimSpec,
    vm: &'a VmSpec,
    guest: &'a GuestSpec,
    disks: &'a Disks<'a>,
    start: &'a Start,
    reason: &'a str,
    template_wanted: bool,
}

impl Attempt<'_> {
    /// On failure nothing of the VM is left.
    async fn run(
        &self,
        request: &CreateRequest,
        tap: Option<OwnedFd>,
    ) -> Result<(Arc<dyn Task>, Process), Error> {
        let (origin, backing) = self.start.origin(self.vm);
        let (worker, agent) = Worker::start(WorkerSpec {
            name: self.spec.id.as_str(),
            vm: self.vm,
            origin,
            backing,
            image: self.disks.image,
            writable: self.disks.writable,
            tap,
            mac: mac_of(&self.spec.network),
            group: Group {
                name: &self.guest.cgroup,
                limits: &self.guest.limits,
                oom_score_adj: self.guest.oom_score_adj,
            },
            work: &request.bundle,
            oci_helper: &self.spec.oci_helper,
            shares: &self.guest.shares,
        })
        .await?;
        mark("hypervisor runs");
        let worker = Arc::new(worker);
        let created = self.create_in(&worker, request, agent).await;
        if created.is_err() {
            worker.end().await;
        }
        created
    }

    /// Waits for the guest and creates the container in it.
    async fn create_in(
        &self,
        worker: &Arc<Worker>,
        request: &CreateRequest,
        agent: UnixStream,
    ) -> Result<(Arc<dyn Task>, Process), Error> {
        let (read, write) = agent.into_split();
        let (link, mut messages) = Link::start(read, write);
        let kernel = match self.start.template() {
            Some(template) => template.record.kernel.clone(),
            None => marked("guest has booted", greet(&*worker.vm, &mut messages)).await?.kernel,
        };
        let info = VmInfo {
            hypervisor: worker.vm.version(),
            accelerator: accelerator(self.vm.kvm).to_owned(),
            guest_kernel: kernel,
            worker_pid: worker.vm.pid(),
            worker_uid: self.vm.uid,
            worker_user: self.vm.user.clone(),
            memory: self.vm.memory,
            cpus: self.vm.cpus,
            start: self.start.name().to_owned(),
            start_reason: self.reason.to_owned(),
            template: self.start.template().map(|template| template.record.key.clone()).unwrap_or_default(),
        };
        // What it has written to the host's directories is of worth in any case.
        let discard = self.spec.discard && self.guest.shares.is_empty();
        let task = VmTask::serve(link, messages, Arc::clone(worker), info, self.template_wanted, discard);
        let (streams, stdio) = task.connect(request.terminal, request.stdin);
        let adopt = Request::Adopt(Adopt { clock_nanos: now(), seed: random_hex(64) });
        let limits = limits::of_guest(&self.guest.limits, self.vm);
        let create = CreateContainer { streams, limits, ..self.guest.create.clone() };
        let create = Request::Create(Box::new(create));
        let prepare = async {
            if self.start.is_prepared() {
                return Ok(Response::Done);
            }
            task.ask(Request::Prepare(Box::new(self.guest.prepare.clone()))).await
        };
        // All at once: the agent does them in order, and none waits for the answer to the one before. Whoever does not
        // answer the first has not come to life; the first that fails is why the others do.
        let (_, _, created) = tokio::try_join!(
            biased;
            marked("guest has its identity", task.ask_within(adopt, ADOPT_TIME)),
            marked("container is prepared", prepare),
            marked("container is created", task.ask(create)),
        )?;
        match created {
            Response::Process { pid } => Ok((task, Process { pid, stdio })),
            _ => Err(unexpected()),
        }
    }
}

/// Waits for `work`, and notes when it was done.
async fn marked<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    let result = work.await;
    mark(what);
    result
}

/// QEMU's word.
fn accelerator(kvm: bool) -> &'static str {
    if kvm { "kvm" } else { "tcg" }
}

/// Waits for the agent's first message.
async fn greet(vm: &dyn Vm, messages: &mut mpsc::Receiver<Message>) -> Result<Hello, Error> {
    let failed = async |what: String| {
        let words = vm.last_words().await;
        let words = if words.is_empty() { String::new() } else { format!("; last words: {words}") };
        Error::Agent(format!("{what}{words}"))
    };
    tokio::select! {
        biased;
        message = messages.recv() => match message {
            Some(Message::Hello(hello)) if hello.version == cofferdam_proto::VERSION => Ok(hello),
            Some(Message::Hello(hello)) => Err(failed(format!(
                "speaks version {} of the protocol instead of {}: run `cargo xtask guest`",
                hello.version,
                cofferdam_proto::VERSION
            )).await),
            Some(_) => Err(failed("did not greet first".to_owned()).await),
            // The hypervisor's end, if that is it, has the better reason.
            None => match tokio::time::timeout(Duration::from_secs(1), vm.ended()).await {
                Ok(reason) => Err(failed(format!("never answered: {reason}")).await),
                Err(_elapsed) => Err(failed("closed its port while starting".to_owned()).await),
            },
        },
        reason = vm.ended() => Err(failed(format!("never answered: {reason}")).await),
        () = tokio::time::sleep(BOOT_TIME) => {
            Err(failed(format!("did not answer within {} seconds", BOOT_TIME.as_secs())).await)
        }
    }
}

fn unexpected() -> Error {
    Error::Agent("an answer to something else".to_owned())
}

/// Unix time in nanoseconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A process's streams by number.
struct StreamNumbers {
    next: std::sync::atomic::AtomicU32,
}

impl StreamNumbers {
    fn new() -> Self {
        Self { next: std::sync::atomic::AtomicU32::new(1) }
    }

    /// Numbers for a new process.
    fn take(&self, terminal: bool, stdin: bool) -> StreamIds {
        let next = || self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        StreamIds {
            stdin: (stdin || terminal).then(next),
            stdout: Some(next()),
            stderr: (!terminal).then(next),
        }
    }
}

/// Where the guest keeps things, as both sides know it.
pub mod guest_paths {
    /// Small files that the specification's mounts name.
    pub const FILES: &str = "/run/cofferdam/files";
    /// Where the shares are mounted; the N-th is `N` in it.
    pub const SHARES: &str = "/run/cofferdam/shares";
    /// The helper, which is also the program of a rehearsal.
    pub const OCI_HELPER: &str = "/cofferdam-oci";
    /// The bundle.
    pub const BUNDLE: &str = "/run/cofferdam/bundle";
}
