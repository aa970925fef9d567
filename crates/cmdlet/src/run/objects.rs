//! The daemon's answers as objects.

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::{Object, Value};

/// A text in an answer; empty when it is not there.
pub(super) fn text<'a>(json: &'a Json, path: &str) -> &'a str {
    json.pointer(path).and_then(Json::as_str).unwrap_or_default()
}

fn time(json: &Json, path: &str) -> Option<Timestamp> {
    text(json, path).parse().ok()
}

/// A container, of its `inspect`. `images` gives the name of an image's ID.
pub(super) fn container(json: &Json, parent: &str) -> Value {
    let (id, name) = (text(json, "/Id"), text(json, "/Name").trim_start_matches('/'));
    let running = json.pointer("/State/Running").and_then(Json::as_bool).unwrap_or(false);
    let paused = json.pointer("/State/Paused").and_then(Json::as_bool).unwrap_or(false);
    let state = match (running, paused) {
        (true, true) => "Paused",
        (true, false) => "Running",
        _ => "Off",
    };
    let since = time(json, "/State/StartedAt").filter(|_| running);
    let uptime = since.map_or(0, |start| Timestamp::now().duration_since(start).as_secs().max(0));
    let runtime = if text(json, "/Cofferdam/Isolation") == "hyperv" { "HyperV" } else { "Default" };
    let number = |path: &str| json.pointer(path).and_then(Json::as_i64).unwrap_or(0);
    Object::new("Container")
        .with("Name", name)
        .with("State", state)
        .with("Uptime", Value::Span(uptime.unsigned_abs()))
        .with("ParentImageName", parent)
        .with("ContainerName", name)
        .with("ContainerId", id)
        .with("Id", id)
        .with("RuntimeType", runtime)
        .with("MaximumMemoryBytes", number("/HostConfig/Memory"))
        .with("CreationTime", text(json, "/Created"))
        .with("ExitCode", number("/State/ExitCode"))
        .into()
}

/// What an image is called and based on.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    /// `sha256:…`
    pub id: String,
    /// `nanoserver:latest`, as the daemon knows it; the ID when it has no name.
    pub reference: String,
    /// `nanoserver`
    pub name: String,
    /// `CN=…`
    pub publisher: String,
    /// `10.0.1`, `latest`
    pub version: String,
    /// Its layers' digests, the lowest first.
    pub layers: Vec<String>,
    /// Bytes.
    pub size: i64,
}

impl Image {
    /// The images that an `inspect` is, one for each of its names.
    pub fn of(json: &Json) -> Vec<Self> {
        let id = text(json, "/Id").to_owned();
        let list = |path: &str| -> Vec<String> {
            let items = json.pointer(path).and_then(Json::as_array).into_iter().flatten();
            items.filter_map(Json::as_str).map(str::to_owned).collect()
        };
        let mut references = list("/RepoTags");
        if references.is_empty() {
            references.push(id.clone());
        }
        let label = |name: &str| {
            let labels = json.pointer("/Config/Labels").and_then(|labels| labels.get(name));
            labels.and_then(Json::as_str).unwrap_or_default().to_owned()
        };
        let (vendor, version) =
            (label("org.opencontainers.image.vendor"), label("org.opencontainers.image.version"));
        let image = |reference: String| {
            let (path, tag) = match reference.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') && !reference.starts_with("sha256:") => (path, tag),
                _ => (reference.as_str(), ""),
            };
            let (registry, name) = match path.rsplit_once('/') {
                Some((registry, name)) => (registry, name),
                None => ("", path),
            };
            let publisher = if vendor.is_empty() { registry } else { vendor.as_str() };
            Self {
                id: id.clone(),
                name: name.to_owned(),
                publisher: if publisher.is_empty() { String::new() } else { format!("CN={publisher}") },
                version: if tag == "latest" && !version.is_empty() { &version } else { tag }.to_owned(),
                layers: list("/RootFS/Layers"),
                size: json.pointer("/Size").and_then(Json::as_i64).unwrap_or(0),
                reference,
            }
        };
        references.into_iter().map(image).collect()
    }

    /// The image that this one is based on: the one with the most of its lowest layers.
    pub fn parent<'a>(&self, all: &'a [Self]) -> Option<&'a Self> {
        let below = |other: &&Self| {
            other.layers.len() < self.layers.len()
                && !other.layers.is_empty()
                && self.layers.starts_with(&other.layers)
        };
        all.iter().filter(below).max_by_key(|other| other.layers.len())
    }

    /// As an object.
    pub fn object(&self, all: &[Self]) -> Value {
        // Its parent's own parent is left out: nobody looks that far, and a long chain stays small.
        let parent = self.parent(all).map(|parent| parent.plain(parent.parent(all).is_none()));
        self.plain(parent.is_none()).with("ParentImage", parent).into()
    }

    fn plain(&self, is_os: bool) -> Object {
        Object::new("ContainerImage")
            .with("Name", self.name.as_str())
            .with("Publisher", self.publisher.as_str())
            .with("Version", self.version.as_str())
            .with("IsOSImage", is_os)
            .with("FullName", self.reference.as_str())
            .with("ImageId", self.id.as_str())
            .with("Size", self.size)
    }
}
