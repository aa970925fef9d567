//! The test host's own system: Debian with its kernel and the packages that Cofferdam needs, on one disk. Made once,
//! and again when the packages are others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{debian, packages, project::run};

/// The disk's size. It is sparse, and so is what a run writes.
const SIZE: &str = "24G";

/// What the host needs besides the packages that building and running need. The kernel is the release's own, of the full
/// flavour: the cloud flavour lacks what a host needs.
const MORE: [&str; 3] = ["linux-image-amd64", "mount", "zstd"];

/// The kernel's first program of ours: the disk with the build has the rest.
const FIRST: &str = "#!/bin/sh\nmount -o ro /dev/vdb /build && exec /build/init\n";

/// Where it is on the disk.
pub const FIRST_PROGRAM: &str = "/sbin/cofferdam-test-host";

/// Paths of a complete system.
pub struct System {
    /// The root file system.
    pub disk: PathBuf,
    /// Its kernel.
    pub kernel: PathBuf,
    /// Its initial RAM disk.
    pub initrd: PathBuf,
}

impl System {
    /// The system in this directory; made when it is missing or has other packages than it should.
    pub fn in_directory(directory: &Path) -> Result<Self> {
        let system = Self {
            disk: directory.join("system.img"),
            kernel: directory.join("vmlinuz"),
            initrd: directory.join("initrd.img"),
        };
        let recipe = format!("{}\n{SIZE}\n{FIRST}", wanted().join(","));
        let made = directory.join("recipe");
        if fs::read_to_string(&made).is_ok_and(|old| old == recipe) {
            return Ok(system);
        }
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        system.make(&directory.join("root"))?;
        // Last: what is not complete is made again.
        fs::write(&made, recipe).with_context(|| made.display().to_string())?;
        Ok(system)
    }

    fn make(&self, root: &Path) -> Result<()> {
        println!("test host: making a Debian with {} packages, once", wanted().len());
        if root.exists() {
            fs::remove_dir_all(root).with_context(|| root.display().to_string())?;
        }
        let packages = format!("--include={}", wanted().join(","));
        debian::bootstrap(&["--variant=apt", "--format=directory", &packages], root)?;
        // Each is a link to the newest.
        for (name, file) in [("vmlinuz", &self.kernel), ("initrd.img", &self.initrd)] {
            fs::copy(root.join(name), file).with_context(|| format!("the system's {name}"))?;
        }
        fs::create_dir_all(root.join("build")).context("build")?;
        let first = root.join(FIRST_PROGRAM.trim_start_matches('/'));
        fs::write(&first, FIRST).with_context(|| first.display().to_string())?;
        run(Command::new("chmod").arg("755").arg(&first))?;
        let new = self.disk.with_extension("new");
        run(Command::new("truncate").args(["-s", SIZE]).arg(&new))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(root).arg(&new))?;
        fs::rename(&new, &self.disk).with_context(|| self.disk.display().to_string())?;
        fs::remove_dir_all(root).with_context(|| root.display().to_string())
    }
}

fn wanted() -> Vec<&'static str> {
    packages::names().chain(MORE).collect()
}
