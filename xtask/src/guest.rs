//! `cargo xtask guest`: the utility VM's kernel and initial RAM disk, in `target/guest/`.
//!
//! The kernel is the distribution's package, downloaded and unpacked, never installed. Its modules that a VM needs,
//! the agent and `cofferdam-oci` (both static) become the initial RAM disk. What is up to date is left alone: with a
//! kernel already fetched, no network is needed (`--update` looks for a newer one).

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::project::{capture, cargo, run, target};

mod cpio;
mod modules;

/// Meta packages whose dependency is the kernel, best first. The full flavour: the cloud flavour has no 9p.
const KERNELS: [&str; 2] = ["linux-image-6.12-amd64", "linux-image-amd64"];

/// What the guest's programs are built for.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Fetches and builds what is missing or old. `--update` looks for a newer kernel package; `--dev` builds the
/// guest's programs without optimisation.
pub fn guest(args: Vec<String>) -> Result<()> {
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if let Some(unknown) = args.iter().find(|arg| !["--update", "--dev"].contains(&arg.as_str())) {
        bail!("unknown argument {unknown}: cargo xtask guest takes --update and --dev");
    }
    let directory = target().join("guest");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let release = match fs::read_to_string(directory.join("release")) {
        Ok(release) if !has("--update") && is_complete(&directory) => release.trim().to_owned(),
        _ => fetch_kernel(&directory)?,
    };
    let programs = build_programs(has("--dev"))?;
    let initrd = initial_ram_disk(&directory, &programs)?;
    let path = directory.join("initrd.img");
    if fs::read(&path).is_ok_and(|old| old == initrd) {
        println!("guest: kernel {release}, initial RAM disk: up to date");
        return Ok(());
    }
    write_whole(&path, &initrd)?;
    println!(
        "guest: kernel {release}, initial RAM disk of {} KiB in {}",
        initrd.len() >> 10,
        directory.display()
    );
    Ok(())
}

fn is_complete(directory: &Path) -> bool {
    directory.join("vmlinuz").is_file() && modules::are_current(&directory.join("modules"))
}

/// Downloads and unpacks the kernel package; returns its release.
fn fetch_kernel(directory: &Path) -> Result<String> {
    let package = kernel_package()?;
    let scratch = directory.join("package");
    let unpacked = scratch.join("root");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    }
    fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
    println!("guest: downloading {package}");
    // As the calling user: apt's own has no access to the directory, and would only warn about it.
    run(Command::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=", "download", &package])
        .current_dir(&scratch))?;
    let deb = find(&scratch, |name| Path::new(name).extension().is_some_and(|end| end == "deb"))?;
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
fn kernel_package() -> Result<String> {
    // Lists of packages that are old do not know the best kernel: they are fetched before one makes do with less.
    if let Some(package) = dependency_of(KERNELS[0])? {
        return Ok(package);
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    for meta in KERNELS {
        if let Some(package) = dependency_of(meta)? {
            return Ok(package);
        }
    }
    bail!("no kernel package was found: apt offers none of {}", KERNELS.join(", "))
}

/// The kernel's package that a meta package depends on.
fn dependency_of(meta: &str) -> Result<Option<String>> {
    let depends = Command::new("apt-cache").args(["depends", meta]).output().context("apt-cache")?;
    let text = String::from_utf8_lossy(&depends.stdout).into_owned();
    let mut packages = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(packages.find(|name| name.starts_with("linux-image-")).map(str::to_owned))
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

/// Builds agent and helper, static; returns their directory.
fn build_programs(dev: bool) -> Result<PathBuf> {
    let directory = target().join("guest-build");
    let mut build =
        cargo(&["build", "--target", TRIPLE, "-p", "cofferdam-guest-agent", "-p", "cofferdam-oci-helper"]);
    if !dev {
        build.arg("--release");
    }
    run(build
        .env("CARGO_TARGET_DIR", &directory)
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("LIBSECCOMP_LINK_TYPE", "static")
        .env("LIBSECCOMP_LIB_PATH", libseccomp_directory()?))?;
    Ok(directory.join(TRIPLE).join(if dev { "debug" } else { "release" }))
}

/// Where the static libseccomp is.
fn libseccomp_directory() -> Result<String> {
    let directory = capture(Command::new("pkg-config").args(["--variable=libdir", "libseccomp"]))?;
    let directory = directory.trim().to_owned();
    if !Path::new(&directory).join("libseccomp.a").is_file() {
        bail!("{directory}/libseccomp.a does not exist: install the package libseccomp-dev");
    }
    Ok(directory)
}

fn initial_ram_disk(directory: &Path, programs: &Path) -> Result<Vec<u8>> {
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let mut archive = cpio::Archive::default();
    for name in ["dev", "modules", "root"] {
        archive.directory(name);
    }
    // The kernel opens it for its first process before anything is mounted.
    archive.character_device("dev/console", 5, 1);
    archive.file("init", 0o755, &stripped(&programs.join("cofferdam-agent"))?);
    archive.file("cofferdam-oci", 0o755, &stripped(&programs.join("cofferdam-oci"))?);
    let modules = directory.join("modules");
    let mut names: Vec<_> =
        fs::read_dir(&modules).context("modules")?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let content = read(&modules.join(&name))?;
        archive.file(&format!("modules/{}", name.to_string_lossy()), 0o644, &content);
    }
    Ok(archive.finish())
}

/// A program without its symbols: less to unpack at each boot.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let copy = program.with_extension("stripped");
    run(Command::new("strip").arg("-o").arg(&copy).arg(program))?;
    fs::read(&copy).with_context(|| copy.display().to_string())
}

fn find(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let found = entries.flatten().find(|entry| wanted(&entry.file_name().to_string_lossy()));
    found
        .map(|entry| entry.path())
        .with_context(|| format!("{}: not what a kernel package holds", directory.display()))
}

/// Writes a file beside its place and moves it there: a VM that is starting reads the old one or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes).with_context(|| new.display().to_string())?;
    fs::rename(&new, path).with_context(|| path.display().to_string())
}
