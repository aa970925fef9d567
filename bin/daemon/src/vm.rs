//! What the `hyperv` level has on this host: QEMU, a guest kernel, and an accelerator that was tried out.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use cofferdam_store::UidPool;
use cofferdam_sys::kvm;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::sync::watch;

use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};
use crate::pieces::{Guest, Pieces};
use crate::templates::{self, Class};

/// The hidden argument with which the daemon starts itself to try KVM out: a guest that hangs hangs a child only.
pub const PROBE: &str = "kvm-probe";

/// How long the probe may take; a usable KVM needs a few milliseconds.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// How guests run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accelerator {
    /// Whether the hardware's virtualisation is used.
    pub kvm: bool,
    /// Why, in a sentence.
    pub reason: String,
}

impl Accelerator {
    /// QEMU's word.
    pub fn name(&self) -> &'static str {
        if self.kvm { "kvm" } else { "tcg" }
    }
}

/// What was found out in the background since the daemon's start.
#[derive(Clone, Debug)]
struct Findings {
    accelerator: Accelerator,
    /// `qemu 7.2.22`; empty when it cannot be run.
    hypervisor: String,
}

/// What the `hyperv` level has here.
#[derive(Debug)]
pub struct VmSupport {
    qemu: Option<PathBuf>,
    guest: Option<Guest>,
    findings: watch::Receiver<Option<Arc<Findings>>>,
}

impl VmSupport {
    /// Starts finding out.
    pub fn find(pieces: &Pieces) -> Self {
        let (sender, findings) = watch::channel(None);
        let qemu = pieces.qemu.clone();
        tokio::task::spawn_blocking(move || {
            let found = Findings {
                accelerator: try_kvm(),
                hypervisor: qemu.as_deref().and_then(version).unwrap_or_default(),
            };
            tracing::info!(accelerator = found.accelerator.name(), "{}", found.accelerator.reason);
            sender.send_replace(Some(Arc::new(found)));
        });
        Self { qemu: pieces.qemu.clone(), guest: pieces.guest.clone(), findings }
    }

    /// QEMU and the guest, or what is missing and what to do about it.
    pub fn require(&self) -> ApiResult<(&Path, &Guest)> {
        let missing =
            |what: &str| ApiError::unavailable(format!("isolation hyperv is not available: {what}"));
        let qemu = self.qemu.as_deref().ok_or_else(|| {
            missing("qemu-system-x86_64 was not found: install the package qemu-system-x86")
        })?;
        let guest = self.guest.as_ref().ok_or_else(|| {
            missing("the guest kernel was not found: run `cargo xtask guest`, or install it in /usr/lib/cofferdam/guest")
        })?;
        Ok((qemu, guest))
    }

    /// The accelerator; waits for the probe, which was begun at the daemon's start.
    pub async fn accelerator(&self) -> Accelerator {
        let mut findings = self.findings.clone();
        match findings.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(found)) => found.accelerator.clone(),
            _ => Accelerator { kvm: false, reason: "the KVM probe did not finish".to_owned() },
        }
    }

    /// The accelerator, if the probe has finished.
    pub fn accelerator_now(&self) -> Option<Accelerator> {
        self.findings.borrow().as_ref().map(|found| found.accelerator.clone())
    }

    /// `qemu 7.2.22`, if it is known by now.
    pub fn hypervisor(&self) -> String {
        self.findings.borrow().as_ref().map(|found| found.hypervisor.clone()).unwrap_or_default()
    }

    /// The guest, if there is one.
    pub fn guest(&self) -> Option<&Guest> {
        self.guest.as_ref()
    }
}

/// Makes one container's VM start otherwise than the daemon's: `boot`. Docker's CLI has `--annotation`, ours
/// `--vm-start`.
pub const START_ANNOTATION: &str = "cofferdam.vm-start";

/// What a guest's kernel and agent need beside the container's own memory.
pub const OVERHEAD: u64 = 128 << 20;
/// VMs have at most this many CPUs when no number is asked for.
const CPUS: u32 = 2;

/// The class of a container's VM, by the container's limits: memory (0: none), and processors if they are limited.
pub async fn class_of(engine: &Engine, memory: i64, cpus: Option<u32>) -> Class {
    let kvm = engine.vm.accelerator().await.kvm;
    let memory = match u64::try_from(memory) {
        Ok(limit) if limit > 0 => limit.saturating_add(OVERHEAD),
        _ => engine.config.vm.memory,
    };
    let cpus = match cpus {
        Some(cpus) => cpus,
        // Emulated processors take turns on one thread: a second one is only overhead.
        _ if !kvm => 1,
        _ => std::thread::available_parallelism()
            .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(CPUS).min(CPUS)),
    };
    templates::class(memory, cpus, kvm)
}

/// The class of a container without limits.
pub async fn default_class(engine: &Engine) -> Class {
    class_of(engine, 0, None).await
}

/// VM workers' user ids lie in `0x7000_0000..0x7FFF_0000`, 65,536 for each daemon.
const FIRST_UID: u32 = 0x7000_0000;
const UIDS_PER_DAEMON: u32 = 0x1_0000;
const DAEMONS: u32 = 0xFFF;

/// The first of this daemon's share of user ids, by its instance's name. Templates are made under it, one at a time.
pub fn template_uid(engine: &Engine) -> u32 {
    // FNV-1a: stable, and good enough to keep a few daemons apart.
    let hash = engine
        .instance
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    FIRST_UID + hash % DAEMONS * UIDS_PER_DAEMON
}

/// The rest of the share, for containers.
pub fn uid_pool(engine: &Engine) -> UidPool {
    UidPool { first: template_uid(engine) + 1, count: UIDS_PER_DAEMON - 1 }
}

/// What makes the host's processor another one: with KVM a guest sees it.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let first = text.split("\n\n").next().unwrap_or_default();
    let telling = ["vendor_id", "cpu family", "model", "stepping", "microcode", "flags"];
    let lines = first.lines().filter(|line| telling.iter().any(|name| line.starts_with(name)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The child that [`PROBE`] starts. It ends with the daemon, however that ends, and by its own CPU time in any case:
/// a hanging guest loop burns a processor.
pub fn probe() -> ExitCode {
    let limit = Rlimit { current: Some(2), maximum: Some(2) };
    let bounded = rustix::process::setrlimit(Resource::Cpu, limit)
        .and_then(|()| rustix::process::set_parent_process_death_signal(Some(Signal::KILL)));
    // Whoever asked has gone already, and its end was missed.
    let orphaned = rustix::process::getppid() == Some(Pid::INIT);
    match bounded {
        Ok(()) if !orphaned && kvm::report_guest_loop().is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn try_kvm() -> Accelerator {
    let Ok(executable) = std::env::current_exe() else {
        return Accelerator { kvm: false, reason: "the KVM probe could not be started".to_owned() };
    };
    let status = kvm::probe(Command::new(executable).arg(PROBE), PROBE_TIME);
    let mut reason = status.sentence();
    if let Some(hint) = status.hint() {
        reason = format!("{reason}; {hint}");
    }
    Accelerator { kvm: status.is_usable(), reason }
}

/// `QEMU emulator version 7.2.22 (Debian …)` as `qemu 7.2.22`.
fn version(qemu: &Path) -> Option<String> {
    let output = Command::new(qemu).arg("--version").stderr(std::process::Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_once("version ")?.1.split_whitespace().next()?;
    Some(format!("qemu {number}"))
}
