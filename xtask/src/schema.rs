//! Docker's published schema of its API: unpacked from Debian's package of Docker's sources, never installed, and no part of
//! this repository. The end-to-end table holds the daemon against it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::guest::apt;
use crate::project::{run, target};

const PACKAGE: &str = "golang-github-docker-docker-dev";
/// Where it is in there.
const FILE: &str = "usr/share/gocode/src/github.com/docker/docker/api/swagger.yaml";

/// Where it is; fetched unless it is there.
pub fn fetch() -> Result<PathBuf> {
    let directory = target().join("api-schema");
    let place = directory.join("swagger.yaml");
    if place.is_file() {
        return Ok(place);
    }
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    let scratch = tempfile::tempdir_in(&directory)?;
    let known = apt::best(&[PACKAGE], |package| {
        Ok(Some(apt::cache(&["show", package])?).filter(|shown| !shown.is_empty()))
    })?;
    known.with_context(|| format!("apt does not know the package {PACKAGE}"))?;
    let deb = apt::download(PACKAGE, scratch.path())?;
    let unpacked = scratch.path().join("root");
    run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked))?;
    // Renamed when it is whole.
    fs::rename(unpacked.join(FILE), &place).with_context(|| format!("{PACKAGE} has no {FILE}"))?;
    Ok(place)
}
