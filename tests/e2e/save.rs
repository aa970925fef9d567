//! Images that go out as archives, and come back the same.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use cofferdam_tests::archive::digest;
use cofferdam_tests::{Case, Daemon, Test, check, check_eq};
use serde_json::Value;

use crate::image::sample;

pub const CASES: &[Test] =
    &[Test::engine("save::comes_back_the_same", comes_back_the_same), Test::engine("save::names", names)];

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// An archive's files by name.
fn files(path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(std::fs::File::open(path)?).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        check!(files.insert(name.clone(), content).is_none(), "{name} is twice in {}", path.display());
    }
    Ok(files)
}

fn json(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Result<Value> {
    let content = files.get(name).with_context(|| format!("{name} is not in {:?}", files.keys()))?;
    Ok(serde_json::from_slice(content)?)
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"))
}

/// Both forms are in it, layers are the compressed ones that came, both CLIs get the same bytes each time, and another
/// engine makes the same of it, manifest and all.
fn comes_back_the_same(case: &Case) -> Result<()> {
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let path = |name: &str| dir.join(name).display().to_string();
    let (image, other) = (sample("saved")?, sample("saved, too")?);
    case.docker(&["load"])?.stdin(image.oci_layout("saved:1")?).ok()?;
    case.docker(&["load"])?.stdin(other.docker_archive("saved/too:1")?).ok()?;
    let (one, two, three) = (path("one.tar"), path("two.tar"), path("three.tar"));
    case.docker(&["save", "-o", &one, "saved:1", "saved/too:1"])?.ok()?;
    case.cofferdam(&["save", "-o", &two, "saved:1", "saved/too:1"])?.ok()?;
    check!(std::fs::read(&one)? == std::fs::read(&two)?, "two archives of the same images differ");

    let found = files(Path::new(&one))?;
    for layer in &image.layers {
        let layer = layer.compressed();
        check!(found.get(&blob(&digest(&layer))) == Some(&layer), "a layer is not in it as it came");
    }
    let manifest = image.manifest(OCI);
    check!(found.get(&blob(&digest(&manifest))) == Some(&manifest), "the manifest is not in it as it came");
    for (name, content) in
        found.iter().filter(|(name, _)| name.starts_with("blobs/sha256/") && name.len() > 64)
    {
        check_eq!(blob(&digest(content)), *name);
    }
    check_eq!(json(&found, "oci-layout")?["imageLayoutVersion"], "1.0.0");
    let index = json(&found, "index.json")?;
    check_eq!(index["manifests"][0]["digest"], Value::from(digest(&manifest)));
    check_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "docker.io/library/saved:1");
    check_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1");
    check_eq!(index["manifests"][0]["platform"]["architecture"], "amd64");
    let list = json(&found, "manifest.json")?;
    check_eq!(list[0]["Config"], Value::from(blob(&digest(&image.config()))));
    check_eq!(list[0]["RepoTags"], serde_json::json!(["saved:1"]));
    check_eq!(list[1]["RepoTags"], serde_json::json!(["saved/too:1"]));

    let daemon = Daemon::start(case.host, "saved", &[])?;
    let seen = daemon.docker(&["load", "-i", &one]).ok()?;
    check!(seen.contains("Loaded image: saved:1") && seen.contains("Loaded image: saved/too:1"), "{seen}");
    let id = daemon.docker(&["image", "inspect", "-f", "{{.Id}}", "saved:1"]).ok()?;
    check_eq!(id, digest(&image.config()));
    let run = ["run", "--rm", "--isolation=process", "saved:1", "cat", "/text"];
    check_eq!(daemon.docker(&run).ok()?, "saved");
    daemon.docker(&["save", "-o", &three, "saved:1", "saved/too:1"]).ok()?;
    check!(std::fs::read(&one)? == std::fs::read(&three)?, "what another engine saves of it differs");
    daemon.remove_everything()?;
    case.docker(&["rmi", "saved:1", "saved/too:1"])?.ok()?;
    Ok(())
}

/// A repository is all its tags, an ID is no name, and what is not there or for another platform is said.
fn names(case: &Case) -> Result<()> {
    let dir = case.directory()?;
    std::fs::create_dir_all(&dir)?;
    let target = dir.join("archive.tar");
    let path = target.display().to_string();
    case.docker(&["load"])?.stdin(sample("named")?.docker_archive("named:1")?).ok()?;
    case.docker(&["tag", "named:1", "named:2"])?.ok()?;
    case.docker(&["tag", "named:1", "elsewhere:1"])?.ok()?;
    case.docker(&["save", "-o", &path, "named"])?.ok()?;
    check_eq!(
        json(&files(&target)?, "manifest.json")?[0]["RepoTags"],
        serde_json::json!(["named:1", "named:2"])
    );
    check_eq!(json(&files(&target)?, "index.json")?["manifests"].as_array().map(Vec::len), Some(2));
    let id = case.docker(&["image", "inspect", "-f", "{{.Id}}", "named:1"])?.ok()?;
    case.cofferdam(&["image", "save", "-o", &path, &id["sha256:".len()..][..12]])?.ok()?;
    check_eq!(json(&files(&target)?, "manifest.json")?[0]["RepoTags"], Value::Null);

    let daemon = case.daemon()?;
    let answer = daemon.get("/images/named:2/get")?;
    check_eq!(answer.status, 200);
    check_eq!(answer.header("content-type"), Some("application/x-tar"));
    check_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    for (query, status, words) in [
        ("/images/get?names=none", 404, "No such image: none:latest"),
        ("/images/get", 400, "no image is named"),
        ("/images/get?names=NOT%20A%20NAME", 400, "invalid reference format"),
        (
            "/images/get?names=named:1&platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D",
            404,
            "not for the platform linux/s390x",
        ),
        ("/images/get?names=named:1&platform=linux", 400, "invalid platform"),
    ] {
        let answer = daemon.get(query)?;
        check_eq!(answer.status, status, "{query}: {}", answer.text());
        check!(answer.message().contains(words), "{query}: {}", answer.text());
    }
    case.docker(&["rmi", "named:1", "named:2", "elsewhere:1"])?.ok()?;
    Ok(())
}
