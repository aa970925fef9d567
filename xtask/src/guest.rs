//! `cargo xtask guest`: the utility VM's kernel and initial RAM disk, in `target/guest/`.
//!
//! The kernel is the distribution's package, downloaded and unpacked, never installed. Its modules that a VM needs,
//! the agent and `cofferdam-oci` (both static) become the initial RAM disk. What is up to date is left alone: with a
//! kernel already fetched, no network is needed (`--update` looks for a newer one).
//!
//! `--build` compiles a smaller kernel as well, in `target/guest-trimmed/`. Once it is there, its initial RAM disk is
//! kept up to date too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::project::{capture, cargo, run, target};

pub mod apt;
mod cpio;
mod distribution;
mod modules;
mod progress;
mod trimmed;

/// What the guest's programs are built for.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What it takes.
const FLAGS: [&str; 3] = ["--update", "--dev", "--build"];

/// Fetches and builds what is missing or old. `--update` looks for newer packages; `--dev` builds the guest's programs
/// without optimisation; `--build` compiles the trimmed kernel.
pub fn guest(args: Vec<String>) -> Result<()> {
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if let Some(unknown) = args.iter().find(|arg| !FLAGS.contains(&arg.as_str())) {
        bail!("unknown argument {unknown}: cargo xtask guest takes {}", FLAGS.join(", "));
    }
    let directory = target().join("guest");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let release = distribution::kernel(&directory, has("--update"))?;
    let programs = build_programs(has("--dev"))?;
    finish(&directory, &release, &programs)?;

    let directory = target().join("guest-trimmed");
    if has("--build") {
        trimmed::build(&directory, has("--update"))?;
    }
    if let Some((release, old)) = trimmed::present(&directory) {
        finish(&directory, &release, &programs)?;
        if old {
            println!("guest: kernel {release} is older than its configuration: cargo xtask guest --build");
        }
    }
    Ok(())
}

/// Writes the initial RAM disk that belongs to a directory's kernel, unless it is there.
fn finish(directory: &Path, release: &str, programs: &Path) -> Result<()> {
    let initrd = initial_ram_disk(directory, programs)?;
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

/// Builds agent and helper; returns their directory. They are static, and always at the same addresses: the emulator keys
/// what it has translated by address, so that each start of a program that the kernel puts elsewhere (`exec` starts the
/// helper) is translated anew.
fn build_programs(dev: bool) -> Result<PathBuf> {
    let directory = target().join("guest-build");
    let mut build =
        cargo(&["build", "--target", TRIPLE, "-p", "cofferdam-guest-agent", "-p", "cofferdam-oci-helper"]);
    if !dev {
        build.arg("--release");
    }
    run(build
        .env("CARGO_TARGET_DIR", &directory)
        .env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            "-C target-feature=+crt-static -C relocation-model=static",
        )
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

/// A directory with nothing in it.
fn new_directory(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| path.display().to_string())?;
    }
    fs::create_dir_all(path).with_context(|| path.display().to_string())
}

/// Writes a file beside its place and moves it there: a VM that is starting reads the old one or the new one.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes).with_context(|| new.display().to_string())?;
    fs::rename(&new, path).with_context(|| path.display().to_string())
}
