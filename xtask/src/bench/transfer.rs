//! Images: a Debian base from an archive, and from a registry on loopback.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use cofferdam_tests::{Registry, tcp};
use serde_json::json;

use super::engine::{Ability, Act, Engine, measured, perform};
use super::figure::{Figure, Spec};
use super::image;
use super::interleave::{interleave, is_left_out};
use super::lab::Lab;
use crate::project::{capture, run};

const LOAD: Spec = Spec::cost("load", "load of a Debian base", "ms");
const PULL: Spec = Spec::cost("pull", "pull of a Debian base from a registry on this host", "ms");

/// Whether the Debian base is needed.
pub fn wanted(wants: impl Fn(&Spec) -> bool) -> bool {
    wants(&LOAD) || wants(&PULL)
}

/// Load and pull, each into an engine that has not got the image.
pub fn figures(lab: &Lab) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    if !wanted(|spec| lab.wants(spec)) {
        return Ok(figures);
    }
    let archive = image::debian()?;
    let engines = lab.engines(|engine| engine.offers(Ability::Images));
    if lab.wants(&LOAD) {
        let load = |engine: &dyn Engine, round| {
            if is_left_out(round) {
                return Ok(vec![None]);
            }
            let sample = measured(engine, &Act::Load { archive: &archive })?;
            forget(engine, "bench-base:latest")?;
            Ok(vec![Some(sample)])
        };
        figures.extend(interleave(lab, &[LOAD], &engines, false, load)?);
    }
    if lab.wants(&PULL) {
        let dir = lab.dir().join("registry");
        fs::create_dir_all(&dir)?;
        let registry = Registry::start(&dir)?;
        push(&registry, &archive, &dir).context("fill the registry")?;
        let reference = format!("{}/bench-base:latest", registry.address);
        let pull = |engine: &dyn Engine, round| {
            if is_left_out(round) {
                return Ok(vec![None]);
            }
            let sample = measured(engine, &Act::Pull { reference: &reference })?;
            forget(engine, &reference)?;
            Ok(vec![Some(sample)])
        };
        figures.extend(interleave(lab, &[PULL], &engines, false, pull)?);
    }
    Ok(figures)
}

/// Each engine has names of its own for an image that names no registry.
fn forget(engine: &dyn Engine, reference: &str) -> Result<()> {
    let full = format!("docker.io/library/{reference}");
    let loaded = !reference.contains('/') && engine.name().starts_with("ctr");
    perform(engine, &Act::Forget { reference: if loaded { &full } else { reference } }).map(drop)
}

/// Puts the only layer of an archive into the registry, gzipped as images are.
fn push(registry: &Registry, archive: &Path, dir: &Path) -> Result<()> {
    const KIND: &str = "application/vnd.docker.distribution.manifest.v2+json";
    run(Command::new("tar").arg("-C").arg(dir).arg("-xf").arg(archive))?;
    run(Command::new("gzip").args(["-1", "--force"]).arg(dir.join("layer.tar")))?;
    let describe = |name: &str, kind: &str| -> Result<_> {
        let file = dir.join(name);
        let digest = capture(Command::new("sha256sum").arg(&file))?;
        let digest =
            format!("sha256:{}", digest.split_whitespace().next().context("sha256sum says nothing")?);
        let bytes = fs::read(&file)?;
        registry.push_blob("bench-base", &digest, &bytes)?;
        Ok(json!({"mediaType": kind, "digest": digest, "size": bytes.len()}))
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": KIND,
        "config": describe("config.json", "application/vnd.docker.container.image.v1+json")?,
        "layers": [describe("layer.tar.gz", "application/vnd.docker.image.rootfs.diff.tar.gzip")?],
    });
    let headers = [("Content-Type", KIND)];
    let path = "/v2/bench-base/manifests/latest";
    let answer = tcp(&registry.address, "PUT", path, &headers, Some(manifest.to_string().as_bytes()))?;
    anyhow::ensure!(answer.status == 201, "manifest: {} {}", answer.status, answer.text());
    Ok(())
}
