//! Whether `/dev/kvm` really runs guests at speed.
//!
//! On some nested hosts the device opens, creates a virtual CPU, and then emulates it thousands of times too slowly,
//! or does not return at all. So a short guest loop is timed, in a process of its own that can be given up:
//! [`probe`] starts it with a command whose program calls [`report_guest_loop`].

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

const DEVICE: &str = "/dev/kvm";

/// Turns of the guest's loop: a few milliseconds on a real virtual CPU.
const TURNS: u32 = 4_000_000;

/// A loop that took longer was not run by the hardware.
const FAST_ENOUGH: Duration = Duration::from_millis(200);

/// What the probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvmStatus {
    /// Guests run at the hardware's speed.
    Usable {
        /// How long the loop took.
        loop_time: Duration,
    },
    /// Guests run, or seem to, far too slowly.
    TooSlow {
        /// How long the loop took; `None` when it had not ended in time.
        loop_time: Option<Duration>,
    },
    /// There is no such device.
    Absent,
    /// The device may not be opened.
    Denied(String),
    /// The device opens and is of no use.
    Failed(String),
}

impl KvmStatus {
    /// Whether hyperv containers should use it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Usable { .. })
    }

    /// What was found, for a human.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Usable { loop_time } => {
                format!("{DEVICE} runs guests at speed ({TURNS} turns in {} ms)", loop_time.as_millis())
            }
            Self::TooSlow { loop_time: Some(time) } => {
                format!(
                    "{DEVICE} runs guests, but far too slowly ({TURNS} turns took {} ms)",
                    time.as_millis()
                )
            }
            Self::TooSlow { loop_time: None } => {
                format!("{DEVICE} opens, but did not run a short guest loop in time")
            }
            Self::Absent => format!("{DEVICE} does not exist"),
            Self::Denied(why) => format!("{DEVICE} is not accessible: {why}"),
            Self::Failed(why) => format!("{DEVICE} opens, but cannot run guests: {why}"),
        }
    }

    /// What to do about it; `None` when there is nothing to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Usable { .. } => None,
            Self::TooSlow { .. } | Self::Failed(_) => Some(
                "this host is probably a virtual machine itself: give it nested virtualisation; until then QEMU's \
                 software emulator is used",
            ),
            Self::Absent => Some(
                "enable virtualisation (VT-x or AMD-V) in the firmware and load kvm_intel or kvm_amd; until then \
                 QEMU's software emulator is used",
            ),
            Self::Denied(_) => Some("run the daemon as root, or add its user to group kvm"),
        }
    }
}

/// Runs `command`, whose program must call [`report_guest_loop`], and judges by what it reports within `limit`.
pub fn probe(command: &mut Command, limit: Duration) -> KvmStatus {
    match std::fs::OpenOptions::new().read(true).write(true).open(DEVICE) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return KvmStatus::Absent,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return KvmStatus::Denied(error.to_string());
        }
        Err(error) => return KvmStatus::Failed(error.to_string()),
    }
    match run_probe(command, limit) {
        Ok(Some(report)) => judge(&report),
        Ok(None) => KvmStatus::TooSlow { loop_time: None },
        Err(error) => KvmStatus::Failed(format!("the probe did not run: {error}")),
    }
}

fn judge(report: &str) -> KvmStatus {
    let report = report.trim();
    let micros = report.strip_prefix("ok ").and_then(|micros| micros.parse().ok()).map(Duration::from_micros);
    match micros {
        Some(loop_time) if loop_time <= FAST_ENOUGH => KvmStatus::Usable { loop_time },
        Some(loop_time) => KvmStatus::TooSlow { loop_time: Some(loop_time) },
        None => {
            KvmStatus::Failed(report.strip_prefix("failed ").unwrap_or("the probe ended early").to_owned())
        }
    }
}

/// The probe's report; `None` when there was none in time.
fn run_probe(command: &mut Command, limit: Duration) -> io::Result<Option<String>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let deadline = Instant::now() + limit;
    let mut report = Vec::new();
    let ended = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&output, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(0) => break false,
            Ok(_) => {
                let mut buffer = [0; 1024];
                let read = output.read(&mut buffer)?;
                report.extend_from_slice(&buffer[..read]);
                if read == 0 || report.ends_with(b"\n") {
                    break true;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let _ = child.kill();
    // Reaped by a thread: a process stuck in KVM_RUN may take a while to notice that it was killed.
    std::thread::spawn(move || child.wait());
    Ok(ended.then(|| String::from_utf8_lossy(&report).into_owned()))
}

/// Times the guest loop in this process and writes one line for [`probe`] on standard output.
pub fn report_guest_loop() -> io::Result<()> {
    let line = match run_guest_loop() {
        Ok(time) => format!("ok {}\n", time.as_micros()),
        Err(error) => format!("failed {error}\n"),
    };
    let mut output = io::stdout().lock();
    output.write_all(line.as_bytes())?;
    output.flush()
}

/// Whether the device file is there at all.
#[must_use]
pub fn device_exists() -> bool {
    Path::new(DEVICE).exists()
}

/// Runs a short loop on a virtual CPU and says how long it took. It may hang: call it in a process of its own.
#[cfg(target_arch = "x86_64")]
pub fn run_guest_loop() -> io::Result<Duration> {
    use kvm_bindings::kvm_userspace_memory_region;
    use kvm_ioctls::{Kvm, VcpuExit};
    use rustix::mm::{MapFlags, ProtFlags};

    const PAGE: usize = 4096;
    let [a, b, c, d] = TURNS.to_le_bytes();
    // Real mode: mov ecx, TURNS; again: dec ecx; jnz again; hlt
    let code = [0x66, 0xb9, a, b, c, d, 0x66, 0x49, 0x75, 0xfc, 0xf4];

    let kvm = Kvm::new()?;
    let vm = kvm.create_vm()?;
    // Intel processors need three pages for real mode; others refuse, and do not.
    let _ = vm.set_tss_address(0xfffb_d000);

    // SAFETY: a new anonymous mapping, which overlaps nothing.
    let memory = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            PAGE,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )?
    };
    // SAFETY: the mapping is a page long, and nobody else refers to it.
    unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), memory.cast(), code.len()) };
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0x1000,
        memory_size: u64::try_from(PAGE).map_err(io::Error::other)?,
        userspace_addr: u64::try_from(memory.addr()).map_err(io::Error::other)?,
    };
    // SAFETY: the page stays mapped until the process ends, which is longer than the VM lives.
    unsafe { vm.set_user_memory_region(region)? };

    let mut vcpu = vm.create_vcpu(0)?;
    let mut segments = vcpu.get_sregs()?;
    segments.cs.base = 0;
    segments.cs.selector = 0;
    vcpu.set_sregs(&segments)?;
    let mut registers = vcpu.get_regs()?;
    registers.rip = 0x1000;
    registers.rflags = 2;
    vcpu.set_regs(&registers)?;

    let started = Instant::now();
    loop {
        match vcpu.run() {
            Ok(VcpuExit::Hlt) => return Ok(started.elapsed()),
            Ok(exit) => return Err(io::Error::other(format!("the guest left its loop: {exit:?}"))),
            Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// No loop is known for this processor.
#[cfg(not(target_arch = "x86_64"))]
pub fn run_guest_loop() -> io::Result<Duration> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "guests are only tried on x86-64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_judged() {
        assert!(judge("ok 3000\n").is_usable());
        assert_eq!(judge("ok 900000\n"), KvmStatus::TooSlow { loop_time: Some(Duration::from_millis(900)) });
        assert_eq!(judge("failed bad address\n"), KvmStatus::Failed("bad address".to_owned()));
        assert_eq!(judge(""), KvmStatus::Failed("the probe ended early".to_owned()));
        for status in
            [judge("ok 900000"), judge("failed x"), KvmStatus::Absent, KvmStatus::Denied("no".to_owned())]
        {
            assert!(!status.sentence().is_empty() && status.hint().is_some());
        }
    }

    #[test]
    fn a_probe_that_hangs_is_given_up() {
        let report = run_probe(Command::new("sleep").arg("1000"), Duration::from_millis(50)).unwrap();
        assert_eq!(report, None);
        let report = run_probe(Command::new("echo").arg("ok 5"), Duration::from_secs(60)).unwrap();
        assert_eq!(report.as_deref(), Some("ok 5\n"));
    }
}
