//! What the `hyperv` level needs. Without it the `process` level still works: nothing here is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cofferdam_sys::kvm;

use super::check::Check;
use crate::programs;

/// All of them.
pub fn checks() -> Vec<Check> {
    vec![
        accelerator(),
        qemu(),
        tool("mkfs.erofs", "erofs-utils", "an image becomes a disk for utility VMs with it"),
        tool("mkfs.ext4", "e2fsprogs", "a container's writable disk is made with it"),
        tun(),
        guest(),
    ]
}

fn accelerator() -> Check {
    const LIMIT: Duration = Duration::from_secs(2);
    let executable = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("cofferdam"));
    let status = kvm::probe(Command::new(executable).arg("doctor-kvm-probe"), LIMIT);
    match status.hint() {
        None => Check::ok("kvm", status.sentence()),
        Some(hint) => Check::warn("kvm", status.sentence(), hint),
    }
}

fn qemu() -> Check {
    let without = "the hyperv level does not work without it";
    let Some(path) = programs::find("qemu-system-x86_64") else {
        return Check::warn(
            "qemu",
            format!("qemu-system-x86_64 was not found: {without}"),
            "install the package qemu-system-x86",
        );
    };
    match Command::new(&path).arg("--version").output() {
        Ok(answer) if answer.status.success() => {
            let words = String::from_utf8_lossy(&answer.stdout).lines().next().unwrap_or_default().to_owned();
            Check::ok("qemu", words)
        }
        Ok(answer) => Check::warn(
            "qemu",
            format!("{}: {}", path.display(), String::from_utf8_lossy(&answer.stderr).trim()),
            "install the package qemu-system-x86 again",
        ),
        Err(error) => Check::warn(
            "qemu",
            format!("{}: {error}", path.display()),
            "install the package qemu-system-x86 again",
        ),
    }
}

fn tool(name: &'static str, package: &str, use_: &str) -> Check {
    match programs::find(name) {
        Some(path) => Check::ok(name, path.display().to_string()),
        None => Check::warn(name, format!("not found: {use_}"), format!("install the package {package}")),
    }
}

fn tun() -> Check {
    match std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => Check::ok("tun", "/dev/net/tun opens"),
        Err(error) => Check::warn(
            "tun",
            format!("/dev/net/tun: {error}: utility VMs have no network"),
            "modprobe tun, and run as root",
        ),
    }
}

/// Where the daemon looks: beside its own directory, then where a distribution installs it.
fn guest() -> Check {
    let executable = std::env::current_exe().unwrap_or_default();
    let beside = executable.parent().unwrap_or(Path::new("/")).join("../guest");
    for place in [beside, PathBuf::from("/usr/lib/cofferdam/guest")] {
        if place.join("vmlinuz").is_file() && place.join("initrd.img").is_file() {
            let release = std::fs::read_to_string(place.join("release")).unwrap_or_default();
            let place = place.canonicalize().unwrap_or(place);
            return Check::ok(
                "guest kernel",
                format!("{} {}", release.trim(), place.display()).trim().to_owned(),
            );
        }
    }
    Check::warn(
        "guest kernel",
        "not found: the hyperv level does not work without it",
        "run 'cargo xtask guest' in the source tree, or install it in /usr/lib/cofferdam/guest",
    )
}
