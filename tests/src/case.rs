//! One row of the table.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Background, Daemon, Host, Invocation, Pty};

/// The first VM with so many processors and so much memory boots a template before it runs, beside all other cases. Two
/// emulated processors, which wait for each other on one thread, take 20 seconds for it on an idle host.
const FIRST_OF_ITS_KIND: Duration = Duration::from_secs(240);

/// Where a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Namespaces on the host's kernel.
    Process,
    /// A utility VM.
    Hyperv,
}

impl Level {
    /// As the flag has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Hyperv => "hyperv",
        }
    }
}

/// The case cannot run on this host, and why.
#[derive(Debug)]
pub struct Skip(pub String);

impl Skip {
    /// The reason as an error, to be returned with `?`.
    #[must_use]
    pub fn because(reason: impl Into<String>) -> anyhow::Error {
        Self(reason.into()).into()
    }
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// One test function and where it runs.
pub struct Test {
    /// `file::function`.
    pub name: &'static str,
    /// The function.
    pub body: fn(&Case) -> Result<()>,
    /// The levels it runs at; empty when the level does not matter (it then runs once).
    pub levels: &'static [Level],
    /// How many utility VMs it has at the same time at the hyperv level.
    pub vms: usize,
}

impl Test {
    /// A case for both levels.
    #[must_use]
    pub const fn both(name: &'static str, body: fn(&Case) -> Result<()>) -> Self {
        Self { name, body, levels: &[Level::Process, Level::Hyperv], vms: 1 }
    }

    /// A case about one level's own nature.
    #[must_use]
    pub const fn only(level: &'static [Level], name: &'static str, body: fn(&Case) -> Result<()>) -> Self {
        Self { name, body, levels: level, vms: 1 }
    }

    /// A case in which no container runs.
    #[must_use]
    pub const fn engine(name: &'static str, body: fn(&Case) -> Result<()>) -> Self {
        Self { name, body, levels: &[], vms: 0 }
    }

    /// The same with several utility VMs at once.
    #[must_use]
    pub const fn with_vms(mut self, vms: usize) -> Self {
        self.vms = vms;
        self
    }
}

/// A test function at one level, with everything it needs. Containers named through it are removed at its end.
pub struct Case<'a> {
    /// The machine.
    pub host: &'a Host,
    /// The level to run at.
    pub level: Level,
    prefix: String,
    made: Mutex<Vec<String>>,
}

impl<'a> Case<'a> {
    /// For the case of this name.
    #[must_use]
    pub fn new(host: &'a Host, level: Level, name: &str) -> Self {
        let prefix = format!("{}-{}", level.as_str(), name.replace("::", "-"));
        Self { host, level, prefix, made: Mutex::new(Vec::new()) }
    }

    /// The daemon that most cases share.
    pub fn daemon(&self) -> Result<&'a Daemon> {
        self.host.daemon()
    }

    /// A container's name that no other case uses; the container is removed when the case ends.
    #[must_use]
    pub fn name(&self, suffix: &str) -> String {
        let name = format!("{}-{suffix}", self.prefix);
        self.made.lock().expect("no holder panics").push(name.clone());
        name
    }

    /// The `--isolation` flag of this level.
    #[must_use]
    pub fn isolation(&self) -> String {
        format!("--isolation={}", self.level.as_str())
    }

    /// The stock docker CLI.
    pub fn docker(&self, args: &[&str]) -> Result<Invocation> {
        Ok(self.daemon()?.docker(args))
    }

    /// Our own CLI.
    pub fn cofferdam(&self, args: &[&str]) -> Result<Invocation> {
        Ok(self.daemon()?.cofferdam(args))
    }

    /// `docker run --rm` at this level; `args` are flags, image and command.
    pub fn run(&self, args: &[&str]) -> Result<Invocation> {
        let isolation = self.isolation();
        self.docker(&[&["run", "--rm", &isolation], args].concat())
    }

    /// `docker run -d` at this level under a name of the case's own, which is returned.
    pub fn detached(&self, suffix: &str, args: &[&str]) -> Result<String> {
        let (name, isolation) = (self.name(suffix), self.isolation());
        let run = self.docker(&[&["run", "-d", "--name", &name, &isolation], args].concat())?;
        run.limit(FIRST_OF_ITS_KIND).ok()?;
        Ok(name)
    }

    /// `docker exec` of a shell script in a container; its output.
    pub fn shell(&self, container: &str, script: &str) -> Result<String> {
        self.docker(&["exec", container, "sh", "-c", script])?.ok()
    }

    /// `docker inspect` as JSON.
    pub fn inspect(&self, container: &str) -> Result<Value> {
        self.daemon()?.inspect(container)
    }

    /// Waits until a container is in this state.
    pub fn becomes(&self, container: &str, status: &str) -> Result<Value> {
        crate::eventually(Duration::from_secs(60), || {
            Ok(Some(self.inspect(container)?).filter(|seen| seen["State"]["Status"] == status))
        })
        .with_context(|| format!("{container} never was {status}"))
    }

    /// The docker CLI on a terminal.
    pub fn terminal(&self, args: &[&str]) -> Result<Pty> {
        Pty::spawn(self.docker(args)?)
    }

    /// The docker CLI beside the case.
    pub fn beside(&self, args: &[&str]) -> Result<Background> {
        self.docker(args)?.spawn()
    }

    /// A program that runs in any image, built from C in the case's directory.
    pub fn static_program(&self, name: &str, source: &str) -> Result<std::path::PathBuf> {
        let dir = self.directory()?;
        std::fs::create_dir_all(&dir)?;
        let (file, program) = (dir.join(format!("{name}.c")), dir.join(name));
        std::fs::write(&file, source)?;
        let args = ["-static", "-O1", "-o", &program.to_string_lossy(), &file.to_string_lossy()];
        let built = Invocation::new("gcc", &args).ok();
        built.map_err(|error| Skip::because(format!("no static C program can be built here: {error}")))?;
        Ok(program)
    }

    /// A directory of the case's own.
    pub fn directory(&self) -> Result<std::path::PathBuf> {
        self.host.directory(&self.prefix)
    }
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        let made = std::mem::take(&mut *self.made.lock().expect("no holder panics"));
        if made.is_empty() {
            return;
        }
        let Ok(daemon) = self.host.daemon() else { return };
        let mut args = vec!["rm", "-f"];
        args.extend(made.iter().map(String::as_str));
        // Most are gone already; what stays is found at the end of the run.
        let _ = daemon.docker(&args).output();
    }
}
