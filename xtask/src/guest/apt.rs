//! Debian's packages as sources of files: looked up and downloaded, never installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::find;
use crate::project::run;

/// What `look` finds out about one of these packages, best first. Lists of packages that are old do not know the best:
/// they are fetched before one makes do with less.
pub fn best<T>(packages: &[&str], look: impl Fn(&str) -> Result<Option<T>>) -> Result<Option<T>> {
    if let Some(best) = packages.first()
        && let Some(found) = look(best)?
    {
        return Ok(Some(found));
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    for package in packages {
        if let Some(found) = look(package)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What apt-cache says; nothing about a package that it does not know.
pub fn cache(arguments: &[&str]) -> Result<String> {
    let output = Command::new("apt-cache").args(arguments).output().context("apt-cache")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Downloads a package (`name`, or `name=version`) into a directory that holds no other.
pub fn download(package: &str, directory: &Path) -> Result<PathBuf> {
    println!("downloading {package}");
    // As the calling user: apt's own has no access to the directory, and would only warn about it.
    run(Command::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=", "download", package])
        .current_dir(directory))?;
    find(directory, |name| Path::new(name).extension().is_some_and(|end| end == "deb"))
}
