//! The machine under test and what it can do.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};

use anyhow::{Context, Result, bail};

use crate::{Daemon, Level, Skip, leftovers};

/// At most this many utility VMs at once: each of them boots a kernel, possibly under emulation.
const VM_SLOTS: usize = 2;

/// The machine, the binaries under test and every daemon started.
pub struct Host {
    binaries: PathBuf,
    docker: PathBuf,
    old_docker: Option<PathBuf>,
    root: PathBuf,
    vm_slots: Mutex<usize>,
    vm_freed: Condvar,
    shared: OnceLock<Result<Daemon, String>>,
    instances: Mutex<Vec<(String, PathBuf)>>,
    next_number: AtomicUsize,
    hyperv: OnceLock<Result<(), String>>,
}

impl Host {
    /// Looks at the machine. `Err` is the reason why no case can run here.
    pub fn find() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("the end-to-end table needs root");
        }
        let Some(binaries) = std::env::var_os("COFFERDAM_BIN").map(PathBuf::from) else {
            bail!("COFFERDAM_BIN names no directory of binaries: run `cargo xtask test`");
        };
        let docker = match std::env::var_os("COFFERDAM_DOCKER").map(PathBuf::from).or_else(|| which("docker"))
        {
            Some(docker) => docker,
            None => bail!("no docker CLI in PATH: run `cargo xtask test`"),
        };
        let root = PathBuf::from(format!("/tmp/cofferdam-e2e-{}", std::process::id()));
        std::fs::create_dir(&root).with_context(|| format!("create {}", root.display()))?;
        Ok(Self {
            binaries: std::path::absolute(binaries)?,
            docker,
            old_docker: std::env::var_os("COFFERDAM_DOCKER_20").map(PathBuf::from),
            root,
            vm_slots: Mutex::new(VM_SLOTS),
            vm_freed: Condvar::new(),
            shared: OnceLock::new(),
            instances: Mutex::new(Vec::new()),
            next_number: AtomicUsize::new(0),
            hyperv: OnceLock::new(),
        })
    }

    /// The stock `docker` CLI.
    #[must_use]
    pub fn docker(&self) -> &Path {
        &self.docker
    }

    /// The 20.10 `docker` CLI, where it could be had.
    pub fn old_docker(&self) -> Result<&Path> {
        self.old_docker
            .as_deref()
            .ok_or_else(|| Skip::because("no docker 20.10 CLI here (package docker.io)"))
    }

    /// One of the binaries under test.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// A new directory that disappears with the run.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }

    /// The daemon that most cases share, started by the first of them, with the built-in image installed.
    pub fn daemon(&self) -> Result<&Daemon> {
        let daemon = self.shared.get_or_init(|| {
            let start = || -> Result<Daemon> {
                let daemon = Daemon::start(self, "shared", &[])?;
                daemon.install_nanoserver()?;
                Ok(daemon)
            };
            start().map_err(|error| format!("{error:#}"))
        });
        daemon.as_ref().map_err(|error| anyhow::anyhow!("the shared daemon: {error}"))
    }

    /// Remembers a daemon, so that the end of the run looks for what it left.
    pub fn remember(&self, instance: &str, dir: &Path) {
        self.instances.lock().expect("no holder panics").push((instance.to_owned(), dir.to_owned()));
    }

    /// A name that no other daemon of this run has, nor gets.
    #[must_use]
    pub fn next_instance(&self) -> String {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        format!("t{:04x}{number:x}", std::process::id() & 0xffff)
    }

    /// Whether this level can run here at all; the reason when it cannot.
    pub fn offers(&self, level: Level) -> Result<()> {
        if level == Level::Process {
            return Ok(());
        }
        let found = self.hyperv.get_or_init(|| {
            if std::env::var("COFFERDAM_LEVELS").is_ok_and(|levels| levels == Level::Process.as_str()) {
                return Err("COFFERDAM_LEVELS is process alone: VMs are too slow here".to_owned());
            }
            if which("qemu-system-x86_64").is_none() {
                return Err("no qemu-system-x86_64 in PATH".to_owned());
            }
            self.guest().map(drop).map_err(|error| error.to_string())
        });
        found.clone().map_err(Skip::because)
    }

    /// The directory of the guest kernel: beside the build directory, or where `cargo xtask install` puts it.
    pub fn guest(&self) -> Result<PathBuf> {
        let (built, installed) = (self.binaries.join("../guest"), PathBuf::from("/usr/lib/cofferdam/guest"));
        let mut places = [built, installed].into_iter();
        let found = places.find(|dir| dir.join("vmlinuz").exists());
        found.context("no guest kernel here (cargo xtask guest)")
    }

    /// Waits for room for `count` utility VMs.
    pub fn vm_room(&self, count: usize) -> VmRoom<'_> {
        // A case that wants more than there is would wait for ever.
        let count = count.min(VM_SLOTS);
        let free = self.vm_slots.lock().expect("no holder panics");
        let mut free = self.vm_freed.wait_while(free, |free| *free < count).expect("no holder panics");
        *free -= count;
        VmRoom { host: self, count }
    }

    /// Stops every daemon and names what is left on the machine that should not be.
    pub fn finish(mut self) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(Ok(daemon)) = self.shared.take()
            && let Err(error) = daemon.remove_everything()
        {
            left.push(format!("the shared daemon did not end clean: {error:#}"));
        }
        for (instance, dir) in self.instances.lock().expect("no holder panics").iter() {
            left.extend(leftovers(instance, dir));
        }
        if left.is_empty() || std::env::var_os("COFFERDAM_KEEP").is_none() {
            // What cannot be removed is a mount that was left, which is listed already.
            let _ = std::fs::remove_dir_all(&self.root);
        }
        left
    }
}

/// Room for utility VMs, given back when dropped.
pub struct VmRoom<'a> {
    host: &'a Host,
    count: usize,
}

impl Drop for VmRoom<'_> {
    fn drop(&mut self) {
        *self.host.vm_slots.lock().expect("no holder panics") += self.count;
        self.host.vm_freed.notify_all();
    }
}

/// Where a program is, as a shell would find it.
fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|candidate| candidate.is_file())
}
