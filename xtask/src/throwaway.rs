//! A daemon for a task: on roots of its own, gone at the end however the task ends.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use cofferdam_tests::{Daemon, Programs};

use crate::project::{release, which};

/// A running daemon in a temporary directory.
pub struct Throwaway {
    daemon: Option<Arc<Daemon>>,
    dir: PathBuf,
}

impl Throwaway {
    /// Starts one from the release build. Ctrl-C from now on ends it in good order.
    pub fn start(task: &str, flags: &[&str]) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("containers need root");
        }
        let dir = tempfile::Builder::new().prefix(&format!("cofferdam-{task}-")).tempdir()?.keep();
        let instance = Self::instance(task);
        let programs = Programs {
            daemon: release().join("cofferdamd"),
            cofferdam: release().join("cofferdam"),
            docker: which("docker").unwrap_or_default(),
        };
        let daemon = Arc::new(Daemon::at(dir.clone(), &instance, programs, flags)?);
        let interrupted = (Arc::clone(&daemon), dir.clone());
        ctrlc::set_handler(move || {
            let (daemon, dir) = &interrupted;
            eprintln!("\ninterrupted: cleaning up");
            if let Err(error) = daemon.remove_everything() {
                eprintln!("{error:#}");
            }
            // What stays is in the system's directory of temporary files.
            let _ = std::fs::remove_dir_all(dir);
            std::process::exit(130);
        })
        .context("handle Ctrl-C")?;
        let throwaway = Self { daemon: Some(Arc::clone(&daemon)), dir };
        daemon.launch(&[])?;
        Ok(throwaway)
    }

    /// The name that a task's daemon has on the host.
    pub fn instance(task: &str) -> String {
        format!("{}{:04x}", &task[..1], std::process::id() & 0xffff)
    }

    /// The daemon.
    pub fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("taken by `finish` only")
    }

    /// Ends it, and makes sure that the host is as before.
    pub fn finish(mut self) -> Result<()> {
        let daemon = self.daemon.take().expect("taken here only");
        daemon.remove_everything()?;
        std::fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        let log = daemon.log();
        let last: Vec<_> = log.lines().rev().take(20).collect();
        eprintln!("the daemon's last words:");
        for line in last.iter().rev() {
            eprintln!("  {line}");
        }
        if let Err(error) = daemon.remove_everything() {
            eprintln!("{error:#}");
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
