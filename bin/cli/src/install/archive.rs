//! An image of one layer as an archive: an OCI image layout, and the index that `docker load` reads of older
//! archives beside it, as `docker save` writes both.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// An image of one layer.
pub struct Image<'a> {
    /// Its name, without a tag.
    pub name: &'a str,
    /// When it was made, in RFC 3339.
    pub created: &'a str,
    /// What it was made of, for its history.
    pub made_of: &'a str,
    /// The `config` part of its configuration.
    pub config: Value,
}

/// Writes the archive to a temporary file. `layer` is an uncompressed tar at its beginning.
pub fn write(image: &Image<'_>, layer: &mut File) -> io::Result<File> {
    let (layer_digest, layer_size) = digest(layer)?;
    let config = json!({
        "architecture": crate::commands::version::architecture(),
        "os": "linux",
        "created": image.created,
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        "history": [{"created": image.created, "created_by": image.made_of, "comment": "cofferdam image install"}],
    });
    let config = config.to_string();
    let config_digest = hex::encode(Sha256::digest(&config));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": format!("sha256:{config_digest}"),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": format!("sha256:{layer_digest}"),
            "size": layer_size,
        }],
    });
    let manifest = manifest.to_string();
    let manifest_digest = hex::encode(Sha256::digest(&manifest));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{manifest_digest}"),
            "size": manifest.len(),
            "annotations": {
                "io.containerd.image.name": format!("docker.io/library/{}:latest", image.name),
                "org.opencontainers.image.ref.name": "latest",
            },
        }],
    });
    let blob = |digest: &str| format!("blobs/sha256/{digest}");
    let docker = json!([{
        "Config": blob(&config_digest),
        "RepoTags": [format!("{}:latest", image.name)],
        "Layers": [blob(&layer_digest)],
    }]);

    let mut archive = tar::Builder::new(tempfile::tempfile()?);
    let mut add = |name: &str, size: u64, content: &mut dyn Read| {
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, name, content)
    };
    let mut text = |name: &str, content: &str| {
        let mut bytes = content.as_bytes();
        let size = u64::try_from(bytes.len()).unwrap_or(0);
        add(name, size, &mut bytes)
    };
    text("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    text("index.json", &index.to_string())?;
    text("manifest.json", &docker.to_string())?;
    text(&blob(&manifest_digest), &manifest)?;
    text(&blob(&config_digest), &config)?;
    add(&blob(&layer_digest), layer_size, layer)?;
    let mut archive = archive.into_inner()?;
    archive.seek(SeekFrom::Start(0))?;
    Ok(archive)
}

/// The digest and the size of a file, which is at its beginning again afterwards.
fn digest(file: &mut File) -> io::Result<(String, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let size = io::copy(file, &mut hasher)?;
    file.seek(SeekFrom::Start(0))?;
    Ok((hex::encode(hasher.finalize()), size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Write as _;

    #[test]
    fn every_digest_leads_to_its_blob() {
        let mut layer = tempfile::tempfile().unwrap();
        layer.write_all(b"layer").unwrap();
        let image = Image {
            name: "x",
            created: "2026-01-01T00:00:00Z",
            made_of: "test",
            config: json!({"Cmd": ["sh"]}),
        };
        let mut archive = tar::Archive::new(write(&image, &mut layer).unwrap());
        let mut files = BTreeMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(name, content);
        }
        let follow = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let content = &files[&format!("blobs/sha256/{digest}")];
            assert_eq!(hex::encode(Sha256::digest(content)), digest);
            assert_eq!(descriptor["size"].as_u64().unwrap(), u64::try_from(content.len()).unwrap());
            content.clone()
        };
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest: Value = serde_json::from_slice(&follow(&index["manifests"][0])).unwrap();
        assert_eq!(follow(&manifest["layers"][0]), b"layer");
        let config: Value = serde_json::from_slice(&follow(&manifest["config"])).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let docker: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(docker[0]["RepoTags"][0], "x:latest");
        assert!(files.contains_key(docker[0]["Config"].as_str().unwrap()));
    }
}
