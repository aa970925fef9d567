//! Archives as docker and others write them, built in memory.

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::Write;

use cofferdam_image::{Digest, ImageStore};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A store in a directory of its own.
pub struct Place {
    pub directory: TempDir,
    pub store: ImageStore,
}

impl Place {
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = ImageStore::open(&directory.path().join("images")).unwrap();
        Self { directory, store }
    }

    /// Closes the store and opens it again.
    pub fn reopen(self) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let store = ImageStore::open(&directory.path().join("images")).unwrap();
        Self { directory, store }
    }

    /// How many entries a directory of the store has.
    pub fn count(&self, name: &str) -> usize {
        std::fs::read_dir(self.directory.path().join("images").join(name)).unwrap().count()
    }
}

/// A tar archive of plain files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        // The crate refuses hostile names in `append_data`; bytes go into the header as they are.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

pub fn hex(data: &[u8]) -> String {
    Digest::of(data).hex()
}

/// A configuration for these uncompressed layers.
pub fn config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": { "Cmd": ["sh"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": diff_ids.iter().map(|_| json!({ "created_by": "COPY x" })).collect::<Vec<_>>(),
    });
    config.to_string().into_bytes()
}

/// What `docker save` writes before version 25.
pub fn old_docker_archive(name: &str, layers: &[&[u8]]) -> Vec<u8> {
    let config = config(layers);
    let config_name = format!("{}.json", hex(&config));
    let names: Vec<_> = (0..layers.len()).map(|n| format!("{n:064}/layer.tar")).collect();
    let manifest = json!([{ "Config": config_name, "RepoTags": [name], "Layers": names }]).to_string();
    let mut files: Vec<(&str, &[u8])> = Vec::new();
    for (name, layer) in names.iter().zip(layers) {
        files.push((name, layer));
    }
    files.push((&config_name, &config));
    files.push(("repositories", b"{}"));
    files.push(("manifest.json", manifest.as_bytes()));
    tar(&files)
}

/// The blobs and the descriptor of an image whose layers are compressed as given.
pub struct Parts {
    pub config: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
    pub manifest: Vec<u8>,
}

impl Parts {
    pub fn new(layers: &[&[u8]], compress: fn(&[u8]) -> Vec<u8>) -> Self {
        let config = config(layers);
        let layers: Vec<_> = layers.iter().map(|layer| compress(layer)).collect();
        let descriptor = |kind: &str, data: &[u8]| {
            json!({ "mediaType": format!("application/vnd.oci.image.{kind}"),
                    "digest": Digest::of(data).to_string(), "size": data.len() })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config),
            "layers": layers.iter().map(|layer| descriptor("layer.v1.tar+gzip", layer)).collect::<Vec<_>>(),
        });
        Self { config, layers, manifest: manifest.to_string().into_bytes() }
    }

    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": Digest::of(&self.manifest).to_string(), "size": self.manifest.len() })
    }

    /// An OCI image layout of it.
    pub fn layout(&self, annotations: Value) -> Vec<u8> {
        let mut descriptor = self.descriptor();
        descriptor["annotations"] = annotations;
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor] }).to_string();
        let blobs: Vec<_> = self.layers.iter().chain([&self.config, &self.manifest]).collect();
        let names: Vec<_> = blobs.iter().map(|blob| format!("blobs/sha256/{}", hex(blob))).collect();
        let mut files: Vec<(&str, &[u8])> =
            names.iter().map(String::as_str).zip(blobs.iter().map(|b| b.as_slice())).collect();
        files.push(("index.json", index.as_bytes()));
        files.push(("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
        tar(&files)
    }
}
