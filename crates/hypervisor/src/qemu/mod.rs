//! QEMU: a q35 machine with virtio devices, with KVM or its software emulator.

mod command;
mod qmp;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cofferdam_model::{FreezeSpec, FrozenParts, GuestMemory, JailSpec};
use cofferdam_sys::trace::mark;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use self::command::{CommandLine, Mapping};
use self::qmp::{Qmp, QmpEvent};
use crate::jail::Supervisor;
use crate::{Backing, Capabilities, DiskRates, Hypervisor, Origin, StartedVm, Vm, VmConfig, VmError};

/// How much of QEMU's standard error and of the console is kept as last words.
const LAST_WORDS: usize = 4 << 10;

/// How long QEMU may take to answer on QMP. It answers before the guest boots, in some 30 ms.
const QMP_TIME: Duration = Duration::from_secs(20);

/// How long saving may take: it writes less than a megabyte.
const SAVE_TIME: Duration = Duration::from_secs(30);

/// The hypervisor's name, before its version.
const NAME: &str = "qemu";

/// QMP's name for the file of a saved state.
const STATE: &str = "state";

/// The most threads of a worker: one for each virtual CPU and this many for disks and the rest.
const EXTRA_THREADS: u64 = 80;

/// Memory that QEMU itself uses beside the guest's: its code and heap, device queues, the kernel and RAM disk that it
/// keeps for a reset (74 MiB), and the emulator's code cache.
#[must_use]
pub fn memory_overhead(kvm: bool) -> u64 {
    let own: u64 = 160;
    (own + if kvm { 0 } else { command::TCG_CODE_MIB }) << 20
}

/// QEMU.
pub struct Qemu {
    /// Whether it uses KVM.
    pub kvm: bool,
    /// The names of the agent's port and the share port.
    pub ports: [&'static str; 2],
}

#[async_trait]
impl Hypervisor for Qemu {
    fn capabilities(&self) -> Capabilities {
        // What the kernel's KVM keeps of a VM cannot be frozen.
        Capabilities { hardware: self.kvm, clones: true, freezes: !self.kvm }
    }

    async fn start(&self, config: VmConfig) -> Result<StartedVm, VmError> {
        File::open(&config.program).map_err(file(&config.program))?;
        let state = match &config.origin {
            Origin::Boot { kernel, initrd } => {
                for path in [kernel, initrd] {
                    File::open(path).map_err(file(path))?;
                }
                None
            }
            Origin::Saved { state } => Some(File::open(state).map_err(file(state))?),
            Origin::Frozen { .. } => {
                if let Some(tap) = &config.tap {
                    cofferdam_sys::tap::set_up_as_qemu(tap).map_err(VmError::os("TAP device"))?;
                }
                None
            }
        };
        let image = File::open(&config.image).map_err(file(&config.image))?;
        let writable = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&config.writable)
            .map_err(file(&config.writable))?;
        let pair = || StdUnixStream::pair().map_err(VmError::os("socket pair"));
        let ((agent, agent_there), (share, share_there), (qmp, qmp_there), (stderr, stderr_there)) =
            (pair()?, pair()?, pair()?, pair()?);
        // In the order of the indices in `command`; standard error last.
        let mut fds = vec![
            image.as_fd(),
            writable.as_fd(),
            agent_there.as_fd(),
            share_there.as_fd(),
            qmp_there.as_fd(),
        ];
        fds.extend(config.tap.as_ref().map(AsFd::as_fd));
        fds.push(stderr_there.as_fd());
        let spec = self.jail_spec(&config);
        let passed =
            fds.iter().map(identity).collect::<io::Result<_>>().map_err(VmError::os("passed file"))?;
        let (pid, supervisor) = Supervisor::start(&config.jail.helper, "jail", &spec, &fds).await?;
        mark("jail");
        drop((agent_there, share_there, qmp_there, stderr_there, image, writable, config.tap));

        let words = Arc::new(Mutex::new(Vec::new()));
        let stderr_done = tokio::spawn(keep_tail(tokio_stream(stderr)?, Arc::clone(&words)));
        let (ended, ended_seen) = watch::channel(None);
        let (kill, killed) = mpsc::channel(1);
        let ended = Arc::new(ended);
        tokio::spawn(supervise(supervisor, killed, Arc::clone(&ended)));
        let helper = config.jail.helper.clone();
        let mut vm = QemuVm { pid, passed, helper, qmp: None, stderr: words, ended: ended_seen, kill };

        let connecting = async {
            let socket = tokio_stream(qmp)?;
            let (qmp, events) = match &config.origin {
                Origin::Frozen { version, .. } => {
                    let version = version.strip_prefix(NAME).unwrap_or(version).trim_start();
                    let (qmp, events) = Qmp::go_on(socket, version);
                    throttle(&qmp, config.rates).await.map_err(saving)?;
                    qmp.execute("cont", json!({})).await.map_err(saving)?;
                    (qmp, events)
                }
                _ => {
                    let (qmp, events) = Qmp::connect(socket).await.map_err(saving)?;
                    throttle(&qmp, config.rates).await.map_err(saving)?;
                    (qmp, events)
                }
            };
            mark("hypervisor answers");
            if let Some(state) = &state {
                resume(&qmp, state).await.map_err(saving)?;
            }
            Ok::<_, VmError>((Arc::new(qmp), events))
        };
        let error = match tokio::time::timeout(QMP_TIME, connecting).await {
            Ok(Ok((qmp, events))) => {
                vm.qmp = Some(Arc::clone(&qmp));
                tokio::spawn(watch_events(events, qmp, Arc::clone(&vm.stderr), ended));
                return Ok(StartedVm { vm: Arc::new(vm), agent, share });
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "it did not answer".to_owned(),
        };
        let by_itself = vm.ended_now();
        vm.kill().await;
        tokio::time::timeout(Duration::from_secs(1), stderr_done).await.ok();
        let words = vm.last_words().await;
        Err(VmError::Died(if words.is_empty() { by_itself.unwrap_or(error) } else { words }))
    }
}

/// Has QEMU go on from a saved state. All commands are on their way before the first is answered.
async fn resume(qmp: &Qmp, state: &File) -> io::Result<()> {
    let (shared, passed, begun) = tokio::join!(
        keep_memory_out(qmp),
        qmp.pass(STATE, state.as_fd()),
        qmp.execute("migrate-incoming", json!({ "uri": format!("fd:{STATE}") })),
    );
    shared.and(passed).and(begun.map(drop))
}

/// Limits what the disks do in a second, both together.
async fn throttle(qmp: &Qmp, rates: DiskRates) -> io::Result<()> {
    if rates == DiskRates::default() {
        return Ok(());
    }
    for disk in command::DISKS {
        let limits = json!({
            "id": format!("/machine/peripheral/{disk}/virtio-backend"), "group": "container", "bps": 0, "iops": 0,
            "bps_rd": rates.read_bytes, "bps_wr": rates.write_bytes,
            "iops_rd": rates.reads, "iops_wr": rates.writes,
        });
        qmp.execute("block_set_io_throttle", limits).await?;
    }
    Ok(())
}

/// The memory is a file already: it is no part of what is saved.
async fn keep_memory_out(qmp: &Qmp) -> io::Result<()> {
    let capabilities = json!([{ "capability": "x-ignore-shared", "state": true }]);
    qmp.execute("migrate-set-capabilities", json!({ "capabilities": capabilities })).await.map(drop)
}

/// Has QEMU write its state, and waits until it has.
async fn save(qmp: &Qmp, state: &File) -> io::Result<()> {
    keep_memory_out(qmp).await?;
    qmp.pass(STATE, state.as_fd()).await?;
    qmp.execute("migrate", json!({ "uri": format!("fd:{STATE}") })).await?;
    loop {
        let answer = qmp.execute("query-migrate", json!({})).await?;
        match answer["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed" | "cancelled") => {
                let reason = answer["error-desc"].as_str().unwrap_or("no reason given");
                return Err(io::Error::other(reason.to_owned()));
            }
            // Templates are made in the background: nobody waits for these milliseconds.
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn saving(error: io::Error) -> VmError {
    VmError::Saving(error.to_string())
}

/// Everything of the command line that a clone must have in common with its template.
#[must_use]
pub fn layout(kvm: bool, memory: u64, cpus: u32) -> Vec<String> {
    let (file, mac) = (Some(Mapping::Private), "");
    CommandLine { program: "", id: "", memory, file, boots: true, cpus, kvm, tap: true, mac, ports: ["", ""] }
        .build()
}

impl Qemu {
    fn jail_spec(&self, config: &VmConfig) -> JailSpec {
        let command = CommandLine {
            program: &config.program.to_string_lossy(),
            id: &config.id,
            memory: config.memory,
            file: match config.backing {
                Backing::Anonymous => None,
                Backing::Private(_) => Some(Mapping::Private),
                Backing::Shared(_) => Some(Mapping::Shared),
            },
            boots: matches!(config.origin, Origin::Boot { .. }),
            cpus: config.cpus,
            kvm: self.kvm,
            tap: config.tap.is_some(),
            mac: &config.mac,
            ports: self.ports,
        };
        let (command, thaw) = match &config.origin {
            Origin::Frozen { process, .. } => (command.title(), Some(process.clone())),
            _ => (command.build(), None),
        };
        JailSpec {
            command,
            root: config.jail.root.clone(),
            files: match &config.origin {
                Origin::Boot { kernel, initrd } => vec![
                    (kernel.clone(), PathBuf::from(command::KERNEL)),
                    (initrd.clone(), PathBuf::from(command::INITRD)),
                ],
                Origin::Saved { .. } | Origin::Frozen { .. } => Vec::new(),
            },
            thaw,
            memory: match &config.backing {
                Backing::Anonymous => None,
                Backing::Private(path) => Some(GuestMemory { path: path.clone(), writable: false }),
                Backing::Shared(path) => Some(GuestMemory { path: path.clone(), writable: true }),
            },
            kvm: self.kvm,
            uid: config.jail.uid,
            threads: EXTRA_THREADS + u64::from(config.cpus),
            cgroup: config.jail.cgroup.clone(),
            hostname: config.id.chars().take(12).collect(),
        }
    }
}

/// A VM run by QEMU.
struct QemuVm {
    pid: i32,
    /// What it was given, by device and inode.
    passed: Vec<(u64, u64)>,
    helper: PathBuf,
    qmp: Option<Arc<Qmp>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    ended: watch::Receiver<Option<String>>,
    kill: mpsc::Sender<()>,
}

#[async_trait]
impl Vm for QemuVm {
    fn pid(&self) -> i32 {
        self.pid
    }

    fn version(&self) -> String {
        self.qmp.as_ref().map_or_else(|| NAME.to_owned(), |qmp| format!("{NAME} {}", qmp.version()))
    }

    async fn ended(&self) -> String {
        let mut ended = self.ended.clone();
        let reason = ended.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "the VM worker process was lost".to_owned())
    }

    fn ended_now(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    async fn save(&self, state: &Path) -> Result<(), VmError> {
        let qmp = self.qmp.as_ref().ok_or_else(|| VmError::Saving("the VM does not run".to_owned()))?;
        let target = File::create(state).map_err(file(state))?;
        tokio::time::timeout(SAVE_TIME, save(qmp, &target))
            .await
            .map_err(|_elapsed| VmError::Saving("the hypervisor did not save its guest in time".to_owned()))?
            .map_err(saving)
    }

    async fn freeze(&self, process: &Path, pages: &Path) -> Result<FrozenParts, VmError> {
        let spec = FreezeSpec { pid: self.pid, passed: self.passed.clone() };
        let (process, pages) =
            (File::create(process).map_err(file(process))?, File::create(pages).map_err(file(pages))?);
        let fds = [process.as_fd(), pages.as_fd()];
        let freezing = Supervisor::freeze(&self.helper, &spec, &fds);
        tokio::time::timeout(SAVE_TIME, freezing)
            .await
            .map_err(|_elapsed| VmError::Saving("the process was not frozen in time".to_owned()))?
    }

    async fn last_words(&self) -> String {
        let said = text(&self.stderr);
        // A VM without a network has a card that is connected to nothing, on purpose.
        let mut words: String = said
            .split_inclusive('\n')
            .filter(|line| !line.contains("is not connected to host network"))
            .collect();
        if let Some(qmp) = &self.qmp {
            words.push_str(&console(qmp).await);
        }
        words.trim().to_owned()
    }

    async fn kill(&self) {
        self.kill.send(()).await.ok();
        // The channel closes when the process is gone.
        self.kill.closed().await;
    }
}

/// Waits for the end of QEMU's process, and brings it about when asked.
async fn supervise(
    mut supervisor: Supervisor,
    mut kill: mpsc::Receiver<()>,
    ended: Arc<watch::Sender<Option<String>>>,
) {
    let status = tokio::select! {
        status = supervisor.ended() => status,
        _ = kill.recv() => {
            supervisor.end().await;
            supervisor.ended().await
        }
    };
    ended.send_if_modified(|reason| {
        let first = reason.is_none();
        reason.get_or_insert_with(|| format!("the VM worker process ended: {status}"));
        first
    });
    drop(kill);
}

/// Learns from QMP's events that the guest has ended; keeps its last words while they can be read.
async fn watch_events(
    mut events: mpsc::Receiver<QmpEvent>,
    qmp: Arc<Qmp>,
    words: Arc<Mutex<Vec<u8>>>,
    ended: Arc<watch::Sender<Option<String>>>,
) {
    while let Some(event) = events.recv().await {
        let reason = match (event.name.as_str(), event.reason.as_str()) {
            ("GUEST_PANICKED", _) | ("SHUTDOWN", "guest-panic" | "guest-reset") => {
                "the guest kernel stopped (panic or reset)"
            }
            ("SHUTDOWN", "guest-shutdown") => "the guest powered itself off",
            ("SHUTDOWN", _) => "the hypervisor was told to end",
            _ => continue,
        };
        let said = console(&qmp).await;
        words.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(said.as_bytes());
        ended.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert_with(|| reason.to_owned());
            first
        });
    }
}

/// What the guest's console holds that was not read yet.
async fn console(qmp: &Qmp) -> String {
    let arguments = json!({ "device": command::CONSOLE, "size": 65536, "format": "utf8" });
    let answer = tokio::time::timeout(Duration::from_secs(1), qmp.execute("ringbuf-read", arguments)).await;
    let Ok(Ok(value)) = answer else { return String::new() };
    let text: String =
        value.as_str().unwrap_or_default().chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let start = text.char_indices().rev().nth(LAST_WORDS).map_or(0, |(at, _)| at);
    text[start..].to_owned()
}

/// Keeps the last bytes of what is read.
async fn keep_tail(mut stream: UnixStream, tail: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(&buffer[..count]);
        let excess = tail.len().saturating_sub(LAST_WORDS);
        tail.drain(..excess);
    }
}

fn text(bytes: &Arc<Mutex<Vec<u8>>>) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

fn tokio_stream(stream: StdUnixStream) -> Result<UnixStream, VmError> {
    stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)).map_err(VmError::os("socket"))
}

/// A file's device and inode.
fn identity(fd: &BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> VmError {
    move |source| VmError::File { path: path.to_owned(), source }
}
