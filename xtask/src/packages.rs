//! The system's packages: named first, installed only when missing.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::project::{capture, run, target, which};

/// Debian's names, and what each is for.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "links the binaries"),
    ("libc6-dev", "links the guest's static binaries"),
    ("pkg-config", "finds libseccomp"),
    ("libseccomp-dev", "system call filters"),
    ("qemu-system-x86", "runs utility VMs"),
    ("erofs-utils", "makes an image into one read-only disk"),
    ("e2fsprogs", "makes the writable disks"),
    ("kmod", "finds what the guest's kernel modules depend on"),
    ("xz-utils", "unpacks kernel modules"),
    ("cpio", "looks into the guest's initial RAM disk"),
    ("busybox-static", "is the image nanoserver"),
    ("mmdebstrap", "builds the image windowsservercore"),
    ("nftables", "NAT of the default network"),
    ("iproute2", "looks at networks in the tests"),
    ("procps", "looks at processes in the demonstration"),
    ("libcap2-bin", "looks at file capabilities in the tests"),
    ("docker-registry", "a real registry for the tests"),
    ("apache2-utils", "its passwords in the tests"),
    ("docker-compose", "drives the engine in the tests"),
    ("python3-docker", "drives the engine in the tests"),
    ("python3-websocket", "how it attaches in the tests"),
    ("curl", "asks published ports in the tests"),
    ("ca-certificates", "TLS registries"),
];

/// What only `cargo xtask guest --build` needs.
const KERNEL_PACKAGES: &[(&str, &str)] = &[
    ("make", "builds the kernel"),
    ("flex", "reads the kernel's configuration"),
    ("bison", "reads the kernel's configuration"),
    ("bc", "computes the kernel's time constants"),
    ("libelf-dev", "the kernel's build checks its object files"),
];

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    PACKAGES.iter().map(|(name, _)| *name)
}

/// Installs what is missing.
pub fn install() -> Result<()> {
    install_these("Cofferdam needs these packages of the system:", PACKAGES)
}

/// Installs what is missing for compiling a kernel.
pub fn install_for_kernel() -> Result<()> {
    install_these("Compiling a kernel needs these packages of the system:", KERNEL_PACKAGES)
}

/// Installs what is missing of these, after naming it under this heading.
pub fn install_these(heading: &str, packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|(name, _)| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("{heading}");
    for (name, purpose) in &missing {
        println!("  {name:<18} {purpose}");
    }
    if which("apt-get").is_none() {
        bail!("this is not a Debian system: install the like of these packages, then try again");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("installing packages needs root");
    }
    let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
    // The lists may be old or absent: try without fetching them first.
    if apt(&names).is_err() {
        run(Command::new("apt-get").args(["update", "-q"]))?;
        apt(&names)?;
    }
    Ok(())
}

fn apt(names: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["install", "-q", "-y", "--no-install-recommends"]).args(names);
    // No service of theirs is started: not a registry, not a firewall, not another engine.
    run(command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"))
}

fn is_installed(name: &str) -> bool {
    let query = ["--show", "--showformat", "${db:Status-Abbrev}", name];
    capture(Command::new("dpkg-query").args(query)).is_ok_and(|status| status.starts_with("ii"))
}

/// Debian's docker CLI (20.10 in Debian 12), unpacked and not installed: no engine is started.
pub fn docker_cli() -> Result<PathBuf> {
    let dir = target().join("clients/docker.io");
    let program = dir.join("usr/bin/docker");
    if program.exists() {
        return Ok(program);
    }
    std::fs::create_dir_all(&dir)?;
    let download = || {
        run(Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=", "download", "docker.io"])
            .current_dir(&dir))
    };
    if download().is_err() {
        run(Command::new("apt-get").args(["update", "-q"]))?;
        download()?;
    }
    let package = std::fs::read_dir(&dir)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package")?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&dir))?;
    std::fs::remove_file(&package)?;
    Ok(program)
}
