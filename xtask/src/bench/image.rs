//! The images that every engine gets, the same bytes for all: a static busybox with the probe, and a Debian base.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use crate::debian;
use crate::project::{capture, root, run, target, which};

/// The small image in each form that an engine may want.
pub struct Small {
    /// Its files, for what has no images.
    pub root: PathBuf,
    /// As `docker save` writes it.
    pub archive: PathBuf,
}

impl Small {
    /// Where [`make_small`] puts it below `dir`.
    pub fn at(dir: &Path) -> Self {
        Self { root: dir.join("image/root"), archive: dir.join("image/bench.tar") }
    }
}

/// Makes the small image below `dir`.
pub fn make_small(dir: &Path) -> Result<()> {
    let small = Small::at(dir);
    for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
        fs::create_dir_all(small.root.join(name))?;
    }
    fs::set_permissions(small.root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let busybox = which("busybox").context("busybox was not found: install the package busybox-static")?;
    let bin = small.root.join("bin");
    for tool in capture(Command::new(&busybox).arg("--list"))?.lines().filter(|&tool| tool != "busybox") {
        symlink("busybox", bin.join(tool))?;
    }
    fs::copy(&busybox, bin.join("busybox"))?;
    fs::copy(probe()?, bin.join("probe"))?;
    fs::write(small.root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(small.root.join("etc/group"), "root:x:0:\n")?;
    let layer = dir.join("image/layer.tar");
    run(Command::new("tar")
        .arg("-C")
        .arg(&small.root)
        .args(["--numeric-owner", "-cf"])
        .arg(&layer)
        .arg("."))?;
    archive(&layer, "bench:latest", &small.archive)?;
    Ok(())
}

/// The probe, compiled when it has changed.
pub fn probe() -> Result<PathBuf> {
    let sources = root().join("xtask/src/bench/probe");
    let program = cache()?.join("probe");
    let time = |file: &Path| fs::metadata(file).and_then(|data| data.modified()).ok();
    let newest = fs::read_dir(&sources)?.flatten().map(|entry| time(&entry.path())).max().flatten();
    if time(&program) < newest {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(rustc);
        command
            .args(["--edition", "2024", "--crate-name", "probe"])
            .args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"])
            .args(["-C", "opt-level=3", "-C", "panic=abort", "-C", "strip=symbols", "-o"])
            .arg(&program)
            .arg(sources.join("main.rs"))
            .current_dir(root());
        run(&mut command)?;
    }
    Ok(program)
}

/// A Debian base as `docker save` writes it; made once, which takes minutes.
pub fn debian() -> Result<PathBuf> {
    let file = cache()?.join("debian-base.tar");
    if file.exists() {
        return Ok(file);
    }
    eprintln!("making a Debian base, once …");
    let layer = cache()?.join("layer.tar");
    debian::bootstrap(&["--variant=minbase", "--format=tar", "--skip=output/dev"], &layer)?;
    archive(&layer, "bench-base:latest", &file)?;
    fs::remove_file(&layer)?;
    Ok(file)
}

/// Wraps a layer into an archive as `docker save` writes it. The layer keeps its name in there.
fn archive(layer: &Path, tag: &str, file: &Path) -> Result<()> {
    let dir = layer.parent().context("a layer is in a directory")?;
    let digest = capture(Command::new("sha256sum").arg(layer))?;
    let digest = digest.split_whitespace().next().context("sha256sum says nothing")?;
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {"Cmd": ["sh"], "Env": [path]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        "history": [{"created_by": "cargo xtask bench"}],
    });
    fs::write(dir.join("config.json"), config.to_string())?;
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]);
    fs::write(dir.join("manifest.json"), manifest.to_string())?;
    // Complete before it has its name: the next run takes what is there.
    let new = file.with_extension("new");
    run(Command::new("tar").arg("-C").arg(dir).arg("-cf").arg(&new).args([
        "config.json",
        "manifest.json",
        "layer.tar",
    ]))?;
    fs::rename(new, file)?;
    for name in ["config.json", "manifest.json"] {
        fs::remove_file(dir.join(name))?;
    }
    Ok(())
}

/// What is kept for the next run.
pub fn cache() -> Result<PathBuf> {
    let dir = target().join("bench-cache");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}
