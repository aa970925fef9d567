//! Images made by hand: docker archives, OCI layouts, and the hostile ones that no tool would write.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// `sha256:<hex>` of bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// One layer: a tar.
#[derive(Default)]
pub struct Layer {
    entries: Vec<u8>,
}

/// What an entry is, beside its name.
pub struct Entry<'a> {
    /// Its type.
    pub kind: EntryType,
    /// Its permissions.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u64, u64),
    /// Link target, for links.
    pub target: &'a str,
    /// Device numbers, for devices.
    pub device: (u32, u32),
    /// What the header says the size is, where that is a lie.
    pub size: Option<u64>,
    /// PAX records before it.
    pub pax: &'a [(&'a str, &'a [u8])],
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Self {
            kind: EntryType::Regular,
            mode: 0o644,
            owner: (0, 0),
            target: "",
            device: (0, 0),
            size: None,
            pax: &[],
        }
    }
}

impl Layer {
    /// Adds an entry under exactly this name, however wrong.
    #[must_use]
    pub fn entry(mut self, name: &str, entry: &Entry, content: &[u8]) -> Self {
        if !entry.pax.is_empty() {
            let mut records = Vec::new();
            for (key, value) in entry.pax {
                records.extend(pax_record(key, value));
            }
            self.append("pax", &Entry { kind: EntryType::XHeader, ..Entry::default() }, &records);
        }
        self.append(name, entry, content);
        self
    }

    fn append(&mut self, name: &str, entry: &Entry, content: &[u8]) {
        let mut header = Header::new_ustar();
        // The crate's own setters refuse the very names that hostile archives have.
        let raw = header.as_ustar_mut().expect("a new ustar header is one");
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        raw.linkname[..entry.target.len()].copy_from_slice(entry.target.as_bytes());
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(1_000_000_000);
        header.set_size(entry.size.unwrap_or(content.len() as u64));
        header.set_device_major(entry.device.0).expect("a ustar header has device numbers");
        header.set_device_minor(entry.device.1).expect("a ustar header has device numbers");
        header.set_cksum();
        self.entries.extend_from_slice(header.as_bytes());
        self.entries.extend_from_slice(content);
        self.entries.resize(self.entries.len().next_multiple_of(512), 0);
    }

    /// Adds a plain file.
    #[must_use]
    pub fn file(self, name: &str, content: &str) -> Self {
        self.entry(name, &Entry::default(), content.as_bytes())
    }

    /// Adds an executable file.
    #[must_use]
    pub fn program(self, name: &str, content: &[u8]) -> Self {
        self.entry(name, &Entry { mode: 0o755, ..Entry::default() }, content)
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.entry(name, &Entry { kind: EntryType::Directory, mode: 0o755, ..Entry::default() }, b"")
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, &Entry { kind: EntryType::Symlink, target, ..Entry::default() }, b"")
    }

    /// Adds a hard link.
    #[must_use]
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name, &Entry { kind: EntryType::Link, target, ..Entry::default() }, b"")
    }

    /// The tar.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.entries.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    /// The tar, gzipped.
    #[must_use]
    pub fn compressed(&self) -> Vec<u8> {
        let mut encoder = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.bytes()).expect("a vector takes everything");
        encoder.finish().expect("a vector takes everything")
    }
}

/// One PAX record: its own length in decimal, the key, the value.
fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// An image in memory.
#[derive(Default)]
pub struct Image {
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// The `config` object of its configuration.
    pub settings: Value,
}

impl Image {
    /// One layer with the host's static busybox as `/bin/sh` and friends, ready for more.
    pub fn with_busybox() -> Result<Layer> {
        let busybox = std::fs::read("/bin/busybox").context("package busybox-static")?;
        let mut layer = Layer::default().directory("bin/").program("bin/busybox", &busybox);
        for applet in
            ["sh", "cat", "ls", "stat", "id", "echo", "sleep", "test", "readlink", "env", "pwd", "true"]
        {
            layer = layer.symlink(&format!("bin/{applet}"), "busybox");
        }
        Ok(layer.directory("etc/").file("etc/passwd", "root:x:0:0::/root:/bin/sh\n"))
    }

    /// The image configuration.
    #[must_use]
    pub fn config(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| digest(&layer.bytes())).collect();
        let settings = if self.settings.is_null() { json!({"Cmd": ["sh"]}) } else { self.settings.clone() };
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2001-09-09T01:46:40Z",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": self.layers.iter().map(|_| json!({"created_by": "tests"})).collect::<Vec<_>>(),
        });
        config.to_string().into_bytes()
    }

    /// The manifest, with layers gzipped.
    #[must_use]
    pub fn manifest(&self, media_type: &str) -> Vec<u8> {
        let (config_type, layer_type) = if media_type.contains("docker") {
            (
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            )
        } else {
            ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip")
        };
        let describe = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
        let layers: Vec<_> =
            self.layers.iter().map(|layer| describe(layer_type, &layer.compressed())).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": describe(config_type, &self.config()),
            "layers": layers,
        });
        manifest.to_string().into_bytes()
    }

    /// As `docker save` writes it.
    pub fn docker_archive(&self, tag: &str) -> Result<Vec<u8>> {
        let config = self.config();
        let config_name = format!("{}.json", digest(&config).trim_start_matches("sha256:"));
        let mut archive = Builder::new(Vec::new());
        let mut names = Vec::new();
        for layer in &self.layers {
            let bytes = layer.bytes();
            let name = format!("{}/layer.tar", digest(&bytes).trim_start_matches("sha256:"));
            append(&mut archive, &name, &bytes)?;
            names.push(name);
        }
        append(&mut archive, &config_name, &config)?;
        let tags: Vec<&str> = Some(tag).filter(|tag| !tag.is_empty()).into_iter().collect();
        let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
        append(&mut archive, "manifest.json", manifest.to_string().as_bytes())?;
        Ok(archive.into_inner()?)
    }

    /// As an OCI image layout.
    pub fn oci_layout(&self, tag: &str) -> Result<Vec<u8>> {
        const KIND: &str = "application/vnd.oci.image.manifest.v1+json";
        let manifest = self.manifest(KIND);
        let mut archive = Builder::new(Vec::new());
        append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let layers = self.layers.iter().map(Layer::compressed);
        for blob in layers.chain([self.config(), manifest.clone()]) {
            append(&mut archive, &format!("blobs/sha256/{}", &digest(&blob)["sha256:".len()..]), &blob)?;
        }
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": KIND,
                "digest": digest(&manifest),
                "size": manifest.len(),
                "annotations": {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag},
            }],
        });
        append(&mut archive, "index.json", index.to_string().as_bytes())?;
        Ok(archive.into_inner()?)
    }
}

/// Adds one file to an outer archive.
pub fn append(archive: &mut Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    Ok(archive.append_data(&mut header, name, bytes)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{Entry, Image, Layer, pax_record};

    #[test]
    fn a_pax_record_counts_its_own_length() {
        assert_eq!(pax_record("a", b"b"), b"6 a=b\n");
        let long = pax_record("key", &[b'x'; 95]);
        assert!(long.starts_with(b"104 key=x") && long.len() == 104, "{}", long.len());
    }

    #[test]
    fn a_layer_is_a_tar() {
        let layer = Layer::default().directory("d/").entry(
            "d/f",
            &Entry { pax: &[("SCHILY.xattr.user.x", b"y")], ..Entry::default() },
            b"text",
        );
        let bytes = layer.bytes();
        let mut names = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            names.push((entry.path().expect("a path").to_string_lossy().into_owned(), text));
        }
        assert_eq!(names, [("d/".to_owned(), String::new()), ("d/f".to_owned(), "text".to_owned())]);
    }

    #[test]
    fn an_archive_has_what_its_manifest_names() {
        let image = Image { layers: vec![Layer::default().file("f", "x")], ..Image::default() };
        let bytes = image.docker_archive("a:1").expect("an archive");
        let count = tar::Archive::new(&bytes[..]).entries().expect("a tar").count();
        assert_eq!(count, 3);
    }
}
