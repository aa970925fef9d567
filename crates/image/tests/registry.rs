//! Pulling from a real registry on loopback: Debian's `docker-registry`.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cofferdam_image::{Digest, Error, LayerStatus, Platform, Progress, ProgressSender, PullRequest};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::{Client, Reference, RegistryOperation, secrets::RegistryAuth};
use serde_json::json;
use support::{Parts, Place, gzip, tar};
use tempfile::TempDir;

struct Registry {
    child: Child,
    directory: TempDir,
    host: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is reaped.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Registry {
    /// Starts one on a free port, or says why not.
    fn start() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = directory.path().join("config.yml");
        let storage = directory.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'}}\n",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve".as_ref(), config.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            println!("skipped: docker-registry is not installed (package docker-registry)");
            return None;
        };
        let registry = Self { child, directory, host };
        for _ in 0..200 {
            if std::net::TcpStream::connect(&registry.host).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not answer on {}", registry.host);
    }

    fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.host).parse().unwrap()
    }

    async fn push(&self, name: &str, parts: &Parts) {
        let client = self.client();
        let reference = self.reference(name);
        client.auth(&reference, &RegistryAuth::Anonymous, RegistryOperation::Push).await.unwrap();
        for blob in parts.layers.iter().chain([&parts.config]) {
            client.push_blob(&reference, blob.clone(), &Digest::of(blob).to_string()).await.unwrap();
        }
        self.push_manifest(name, &parts.manifest, "application/vnd.oci.image.manifest.v1+json").await;
    }

    async fn push_manifest(&self, name: &str, manifest: &[u8], media_type: &str) {
        let reference = self.reference(name);
        let manifest = manifest.to_vec();
        self.client().push_manifest_raw(&reference, manifest, media_type.parse().unwrap()).await.unwrap();
    }

    fn client(&self) -> Client {
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        Client::try_from(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() }).unwrap()
    }

    /// The file that holds a blob.
    fn blob(&self, data: &[u8]) -> PathBuf {
        let hex = support::hex(data);
        self.directory
            .path()
            .join("storage/docker/registry/v2/blobs/sha256")
            .join(&hex[..2])
            .join(hex)
            .join("data")
    }

    fn request(&self, name: &str) -> PullRequest {
        PullRequest::new(format!("{}/{name}", self.host).parse().unwrap())
    }
}

fn image(n: u8) -> Parts {
    let layers = [tar(&[("a", b"base")]), tar(&[("b", &[n])]), tar(&[("c", &vec![n; 3 << 20])])];
    Parts::new(&layers.iter().map(Vec::as_slice).collect::<Vec<_>>(), gzip)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_pulled_verified_and_shared() {
    let Some(registry) = Registry::start() else { return };
    let (one, two) = (image(1), image(2));
    registry.push("x:1", &one).await;
    registry.push("x:2", &two).await;
    let place = Place::new();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let pulled = place.store.pull(registry.request("x:1"), &ProgressSender::new(sender)).await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = receiver.recv().await {
        lines.push(line);
    }
    let digest = Digest::of(&one.manifest);
    assert_eq!(lines[0], Progress::PullingFrom { repository: "x".into(), tag: "1".into() });
    assert_eq!(lines[lines.len() - 2], Progress::Digest(digest.clone()));
    assert_eq!(lines[lines.len() - 1], Progress::Downloaded(format!("{}/x:1", registry.host)));
    let complete =
        |line: &&Progress| matches!(line, Progress::Layer { status: LayerStatus::PullComplete, .. });
    assert_eq!(lines.iter().filter(complete).count(), 3);
    assert_eq!(pulled.repo_digests(), [format!("{}/x@{digest}", registry.host)]);
    assert_eq!(pulled.id(), &Digest::of(&one.config));

    // A second pull changes nothing; another image shares the base layer; by digest it is found too.
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    place.store.pull(registry.request("x:1"), &ProgressSender::new(sender)).await.unwrap();
    let mut last = None;
    while let Some(line) = receiver.recv().await {
        last = Some(line);
    }
    assert_eq!(last.unwrap(), Progress::UpToDate(format!("{}/x:1", registry.host)));
    let quiet = ProgressSender::none();
    let (a, b) = (registry.request("x:2"), registry.request(&format!("x@{}", Digest::of(&two.manifest))));
    let (a, b) = tokio::join!(place.store.pull(a, &quiet), place.store.pull(b, &quiet));
    assert_eq!(a.unwrap().id(), b.unwrap().id());
    assert_eq!((place.count("layers"), place.count("tmp")), (5, 0));
    let place = place.reopen();
    assert_eq!(place.store.list().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_followed_by_platform() {
    let Some(registry) = Registry::start() else { return };
    let (one, two) = (image(1), image(2));
    registry.push("m:one", &one).await;
    registry.push("m:two", &two).await;
    let entry = |parts: &Parts, architecture: &str| {
        let mut entry = parts.descriptor();
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    };
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": [entry(&one, "arm64"), entry(&two, "amd64")] });
    let index = index.to_string().into_bytes();
    registry.push_manifest("m:all", &index, media_type).await;
    let place = Place::new();
    let quiet = ProgressSender::none();
    for (platform, parts) in [("linux/arm64", &one), ("linux/amd64", &two)] {
        let request = PullRequest { platform: Some(Platform::parse(platform)), ..registry.request("m:all") };
        let pulled = place.store.pull(request, &quiet).await.unwrap();
        assert_eq!(pulled.id(), &Digest::of(&parts.config), "{platform}");
        assert!(pulled.repo_digests()[0].ends_with(&Digest::of(&index).to_string()));
    }
    let request = PullRequest { platform: Some(Platform::parse("linux/s390x")), ..registry.request("m:all") };
    let error = place.store.pull(request, &quiet).await.unwrap_err().to_string();
    assert_eq!(error, "no matching manifest for linux/s390x in the manifest list entries");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_as_promised_is_refused() {
    let Some(registry) = Registry::start() else { return };
    let quiet = ProgressSender::none();
    let parts = image(3);
    registry.push("x:1", &parts).await;
    let layer = registry.blob(&parts.layers[2]);
    let original = fs::read(&layer).unwrap();
    let mut wrong = original.clone();
    let middle = wrong.len() / 2;
    wrong[middle] ^= 1;
    let longer = [original.clone(), vec![0; 100]].concat();
    for (what, data) in [("digest", &wrong[..]), ("bytes", &original[..middle]), ("bytes", &longer[..])] {
        fs::write(&layer, data).unwrap();
        let place = Place::new();
        let error = place.store.pull(registry.request("x:1"), &quiet).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("filesystem layer")
                && text.contains("verification failed")
                && text.contains(what),
            "{text}"
        );
        for directory in ["tmp", "layers", "blobs/sha256"] {
            assert_eq!(place.count(directory), 0, "{what}: left in {directory}");
        }
    }
    let place = Place::new();
    let missing = place.store.pull(registry.request("x:nope"), &quiet).await.unwrap_err();
    assert!(matches!(missing, Error::ManifestUnknown { .. }), "{missing}");
    let missing = place.store.pull(registry.request("nope:1"), &quiet).await.unwrap_err();
    println!("unknown repository: {missing}");
    fs::remove_file(&layer).unwrap();
    let gone = place.store.pull(registry.request("x:1"), &quiet).await.unwrap_err();
    println!("missing blob: {gone}");
    let refused = PullRequest::new("127.0.0.1:1/x".parse().unwrap());
    let error = place.store.pull(refused, &quiet).await.unwrap_err().to_string();
    assert!(
        error.starts_with("registry 127.0.0.1:1: ") && error.to_lowercase().contains("connection refused"),
        "{error}"
    );
}
