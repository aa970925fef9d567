//! The hyperv level: a utility VM for each container, in which the agent runs it through [`crate::process`].
//!
//! ```text
//! VmIsolation::create
//!   1 rewrite the OCI specification for the guest                        (guest_spec)
//!   2 cgroup, user name, share server, jailed VM worker process          (worker)
//!   3 wait for the agent's Hello: the guest has booted
//!   4 Adopt (entropy, clock, hostname, address) and Create               (task, link)
//! ```
//!
//! **Pause freezes the container in the guest**, not the VM: `top`, `kill` and `delete` must work on a paused
//! container as they do at the process level, and those need an agent that answers. The guest kernel's idle loop
//! costs the host next to nothing.
//!
//! **The guest is not trusted.** Whatever it sends is bounded and checked by `cofferdam_proto`; every wait for it has
//! an end; when it breaks the protocol the VM is killed. Its container then has exited with 137, as one whose init
//! process was killed.

mod guest_spec;
pub mod link;
mod task;
mod worker;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use cofferdam_hypervisor::Vm;
use cofferdam_model::{NetworkSpec, ShimSpec, VmInfo, VmSpec, bundle, random_hex};
use cofferdam_proto::{Adopt, CreateContainer, GuestNetwork, Hello, Message, Request, Response, StreamIds};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use self::guest_spec::GuestSpec;
use self::link::Link;
use self::task::VmTask;
use self::worker::Worker;
use crate::{CreateRequest, Error, Isolation, Process, Task};

/// How long a guest may take to boot. Emulated on a busy host it was seen to take 15 seconds.
const BOOT_TIME: Duration = Duration::from_secs(90);

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
        let vm = self.spec.vm.clone().ok_or_else(|| Error::Hypervisor("no VM is specified".to_owned()))?;
        let path = request.bundle.join(bundle::OCI_SPEC);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Path { path, source })?;
        let guest = GuestSpec::rewrite(&text, &self.spec)?;
        let tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (worker, agent) = Worker::start(&self.spec, &vm, &guest, &request.bundle, tap).await?;
        let worker = Arc::new(worker);
        let created = self.create_in(&worker, &vm, guest, &request, agent).await;
        if created.is_err() {
            worker.end().await;
        }
        created
    }
}

impl VmIsolation {
    /// Waits for the guest and creates the container in it.
    async fn create_in(
        &self,
        worker: &Arc<Worker>,
        vm: &VmSpec,
        guest: GuestSpec,
        request: &CreateRequest,
        agent: UnixStream,
    ) -> Result<(Arc<dyn Task>, Process), Error> {
        let (read, write) = agent.into_split();
        let (link, mut messages) = Link::start(read, write);
        let hello = greet(&*worker.vm, &mut messages).await?;
        let info = VmInfo {
            hypervisor: worker.vm.version(),
            accelerator: if vm.kvm { "kvm" } else { "tcg" }.to_owned(),
            guest_kernel: hello.kernel,
            worker_pid: worker.vm.pid(),
            worker_uid: vm.uid,
            worker_user: vm.user.clone(),
        };
        let task = VmTask::serve(link, messages, Arc::clone(worker), info);
        let (ids, stdio) = task.connect(request.terminal, request.stdin);
        let adopt = Request::Adopt(Adopt {
            clock_nanos: now(),
            seed: random_hex(64),
            hostname: guest.hostname.clone(),
            network: guest_network(&self.spec.network),
        });
        let create = Request::Create(Box::new(CreateContainer {
            id: request.id.clone(),
            spec: guest.text,
            terminal: request.terminal,
            streams: ids,
            share: !guest.shares.is_empty(),
            files: guest.files,
        }));
        // Both at once: the agent does them in order, and the second need not wait for the first one's answer.
        let (adopted, created) = tokio::join!(task.ask(adopt), task.ask(create));
        adopted?;
        match created? {
            Response::Process { pid } => Ok((task, Process { pid, stdio })),
            _ => Err(unexpected()),
        }
    }
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
            None => Err(failed("closed its port while starting".to_owned()).await),
        },
        reason = vm.ended() => Err(failed(format!("never answered: {reason}")).await),
        () = tokio::time::sleep(BOOT_TIME) => {
            Err(failed(format!("did not answer within {} seconds", BOOT_TIME.as_secs())).await)
        }
    }
}

fn guest_network(network: &NetworkSpec) -> Option<GuestNetwork> {
    match network {
        NetworkSpec::Bridge(bridge) => Some(GuestNetwork {
            mac: bridge.mac.clone(),
            address: bridge.address,
            prefix: bridge.prefix,
            gateway: bridge.gateway,
            mtu: bridge.mtu,
        }),
        NetworkSpec::None | NetworkSpec::Host => None,
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
    /// The bundle.
    pub const BUNDLE: &str = "/run/cofferdam/bundle";
}
