//! The distribution's kernel: its package, downloaded and unpacked, never installed.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{apt, find, modules, new_directory, write_whole};
use crate::project::run;

/// Meta packages whose dependency is the kernel, best first. The full flavour: there a utility VM was proven.
const KERNELS: [&str; 2] = ["linux-image-6.12-amd64", "linux-image-amd64"];

/// The kernel's release; fetches it when it is missing, or when a newer one is to be looked for.
pub fn kernel(directory: &Path, update: bool) -> Result<String> {
    match fs::read_to_string(directory.join("release")) {
        Ok(release) if !update && is_complete(directory) => Ok(release.trim().to_owned()),
        _ => fetch(directory),
    }
}

fn is_complete(directory: &Path) -> bool {
    directory.join("vmlinuz").is_file() && modules::are_current(&directory.join("modules"))
}

/// Downloads and unpacks the kernel package; returns its release.
fn fetch(directory: &Path) -> Result<String> {
    let package = package()?;
    let scratch = directory.join("package");
    let unpacked = scratch.join("root");
    new_directory(&scratch)?;
    let deb = apt::download(&package, &scratch)?;
    run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked))?;
    let kernel = find(&unpacked.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    let name = kernel.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let release = name.trim_start_matches("vmlinuz-").to_owned();
    modules::collect(&unpacked, &release, &directory.join("modules"))?;
    let image = fs::read(&kernel).with_context(|| kernel.display().to_string())?;
    write_whole(&directory.join("vmlinuz"), &uncompressed(&image).unwrap_or(image))?;
    fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    write_whole(&directory.join("release"), format!("{release}\n").as_bytes())?;
    Ok(release)
}

/// The package that holds the kernel itself.
fn package() -> Result<String> {
    let found = apt::best(&KERNELS, |meta| {
        let depends = apt::cache(&["depends", meta])?;
        let mut packages = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(packages.find(|name| name.starts_with("linux-image-")).map(str::to_owned))
    })?;
    found.with_context(|| format!("no kernel package was found: apt offers none of {}", KERNELS.join(", ")))
}

/// The ELF kernel in a bzImage (Documentation/arch/x86/boot.rst: `payload_offset`, `payload_length`): QEMU starts it
/// directly (PVH), and the guest does not spend an emulated second on decompressing itself. `None` when it is packed
/// in a way that is not known here; QEMU starts the bzImage then.
fn uncompressed(image: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| image.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let setup = match *image.get(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (setup + 1) * 512 + usize::try_from(word(0x248)?).ok()?;
    let payload = image.get(start..start + usize::try_from(word(0x24c)?).ok()?)?;
    let mut kernel = Vec::new();
    if payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd::Decoder::new(payload).ok()?.single_frame().read_to_end(&mut kernel).ok()?;
    } else if payload.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        // The last four bytes are the length, which xz would take for garbage.
        kernel = modules::unxz(payload.get(..payload.len() - 4)?).ok()?;
    }
    kernel.starts_with(b"\x7fELF").then_some(kernel)
}
