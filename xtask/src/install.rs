//! Everything where a distribution would put it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::project::{build_release, release, root, target};
use crate::{guest, packages};

/// `cargo xtask install`
#[derive(clap::Args)]
pub struct Options {
    /// Root to install under, for packaging
    #[arg(long, value_name = "DIR", default_value = "/")]
    destdir: PathBuf,
    /// Directory of programs and libraries. The daemon also looks in /usr/lib/cofferdam, so leave it for ordinary use
    #[arg(long, value_name = "DIR", default_value = "/usr")]
    prefix: PathBuf,
    /// Take guest and release build as they are
    #[arg(long)]
    no_build: bool,
}

/// Installs.
pub fn install(options: &Options) -> Result<()> {
    if !options.no_build {
        packages::install()?;
        guest::guest(Vec::new())?;
        build_release()?;
    }
    let under = |path: &Path| options.destdir.join(path.strip_prefix("/").unwrap_or(path));
    let (programs, library) =
        (under(&options.prefix.join("bin")), under(&options.prefix.join("lib/cofferdam")));
    for name in ["cofferdam", "cofferdamd"] {
        place(&release().join(name), &programs.join(name), 0o755)?;
    }
    for name in ["cofferdam-shim", "cofferdam-oci"] {
        place(&release().join(name), &library.join(name), 0o755)?;
    }
    for name in ["vmlinuz", "initrd.img", "release"] {
        place(&target().join("guest").join(name), &library.join("guest").join(name), 0o644)?;
    }
    let module = "powershell/Cofferdam";
    for name in ["Cofferdam.psd1", "Cofferdam.psm1", "Cofferdam.format.ps1xml", "Proxies.psm1"] {
        let place_of = options.prefix.join("share/cofferdam").join(module).join(name);
        place(&root().join(module).join(name), &under(&place_of), 0o644)?;
    }
    let unit = root().join("packaging/cofferdam.service");
    place(&unit, &under(&options.prefix.join("lib/systemd/system/cofferdam.service")), 0o644)?;
    println!("\nsystemctl daemon-reload && systemctl enable --now cofferdam    # or run cofferdamd by hand");
    Ok(())
}

/// Copies a file beside its place and moves it there, so that a running program is not written to.
fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let dir = to.parent().context("a file is in a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let new = to.with_extension("new");
    fs::copy(from, &new).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
    fs::rename(&new, to).with_context(|| format!("replace {}", to.display()))?;
    println!("{}", to.display());
    Ok(())
}
