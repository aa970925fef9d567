//! Volumes: directories with names that outlive containers.
//!
//! ```text
//! <data-root>/volumes/<name>/_data        what containers mount
//!                           /volume.json  what is known of it: made under another name, so never half there
//!                           /fill         an image's content on its way into _data (fill.rs)
//! <data-root>/volumes/.new-…, .gone-…     under construction, or being removed: swept at the daemon's start
//! ```
//!
//! The directory is the truth, not a row of the database: a row can be lost in a power cut, and then nobody could tell
//! a user's data from what is left of a removed volume. Whether a volume is in use the containers' records say;
//! [`Volumes::gate`] keeps a volume from being removed while a container that wants it is being recorded.

mod disk;
mod fill;
pub mod prune;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::RwLock;

use crate::containers::{Container, MountKind, MountPoint};
use crate::engine::Engine;
use crate::error::{ApiError, ApiResult};
use crate::events::Event;

pub use disk::Gone;
pub use fill::fill;

/// The label by which Docker's clients know that nobody chose the name.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// All volumes.
pub struct Volumes {
    root: PathBuf,
    known: Mutex<BTreeMap<String, Arc<Volume>>>,
    /// Held shared while a container with volumes is being recorded, and exclusively while one is removed.
    pub gate: RwLock<()>,
}

/// One volume.
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What is stored of it.
    pub about: About,
    /// Its directory.
    directory: PathBuf,
    /// Held while an image's content is copied in.
    filling: Mutex<()>,
}

/// What is stored of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct About {
    /// When it was made.
    pub created: Timestamp,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

impl Volume {
    /// What containers mount: its own directory, or the host's that its options name.
    pub fn source(&self) -> PathBuf {
        match self.about.options.get("device") {
            Some(device) => PathBuf::from(device),
            None => self.data(),
        }
    }

    /// Its own directory.
    fn data(&self) -> PathBuf {
        self.directory.join("_data")
    }

    /// Whether its options keep containers from writing.
    pub fn is_read_only(&self) -> bool {
        self.about.options.get("o").is_some_and(|o| o.split(',').any(|word| word == "ro"))
    }

    /// Whether nobody chose its name.
    pub fn is_anonymous(&self) -> bool {
        self.about.labels.contains_key(ANONYMOUS)
    }

    /// Docker's JSON.
    pub fn json(&self) -> Value {
        let options = &self.about.options;
        json!({
            "CreatedAt": self.about.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "Driver": "local",
            "Labels": if self.about.labels.is_empty() { Value::Null } else { json!(self.about.labels) },
            "Mountpoint": self.data().to_string_lossy(),
            "Name": self.name,
            "Options": if options.is_empty() { Value::Null } else { json!(options) },
            "Scope": "local",
        })
    }

    /// Bytes of everything in it; a directory of the host that it stands for does not count. Blocking.
    pub fn size(&self) -> u64 {
        disk::size_below(&self.data())
    }
}

impl Volumes {
    /// Those in `root`; what a crash has left half made or half removed goes.
    pub fn open(root: PathBuf) -> std::io::Result<Self> {
        let known = disk::open(&root)?;
        Ok(Self { root, known: Mutex::new(known), gate: RwLock::default() })
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Volume>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<Arc<Volume>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// One of them, or Docker's complaint.
    pub fn find(&self, name: &str) -> ApiResult<Arc<Volume>> {
        self.get(name).ok_or_else(|| ApiError::not_found(format!("get {name}: no such volume")))
    }

    /// Makes a volume unless there is one of this name; says whether it is new. An empty name means a random one.
    /// Blocking.
    pub fn make(
        &self,
        name: &str,
        driver: &str,
        options: BTreeMap<String, String>,
        mut labels: BTreeMap<String, String>,
    ) -> ApiResult<(Arc<Volume>, bool)> {
        check(name, driver, &options)?;
        let random = cofferdam_model::random_hex(32);
        let name = if name.is_empty() {
            labels.entry(ANONYMOUS.to_owned()).or_default();
            random.as_str()
        } else {
            name
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(volume) = known.get(name) {
            return Ok((Arc::clone(volume), false));
        }
        let about = About { created: Timestamp::now(), labels, options };
        let volume = disk::make(&self.root, name, about)
            .map_err(|error| ApiError::internal(format!("create {name}: {error}")))?;
        let volume = Arc::new(volume);
        known.insert(name.to_owned(), Arc::clone(&volume));
        Ok((volume, true))
    }

    /// Takes a volume out; its files are removed by whoever drops what this gives. The gate is held.
    fn take_out(&self, name: &str) -> ApiResult<Option<Gone>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(volume) = known.get(name) else { return Ok(None) };
        let gone = Gone::take(&self.root, &volume.directory)
            .map_err(|error| ApiError::internal(format!("remove {name}: {error}")))?;
        known.remove(name);
        Ok(Some(gone))
    }
}

/// The IDs of the containers that a volume belongs to.
pub fn users(engine: &Engine, name: &str) -> Vec<String> {
    let uses = |container: &Arc<Container>| container.record().mounts.iter().any(|mount| mount.name == name);
    let all = engine.containers.all();
    let known = all.iter().filter(|container| uses(container)).map(|container| container.id.to_string());
    known.chain(engine.containers.unreadable_naming(name)).collect()
}

/// Removes a volume that nobody uses. `force` makes no error of one that does not exist.
pub async fn remove(engine: &Engine, name: &str, force: bool) -> ApiResult<()> {
    match take(engine, name).await? {
        Some(gone) => tokio::task::spawn_blocking(move || drop(gone))
            .await
            .map_err(|error| ApiError::internal(format!("remove {name}: {error}"))),
        None if force => Ok(()),
        None => Err(ApiError::not_found(format!("get {name}: no such volume"))),
    }
}

/// Takes a volume that nobody uses from its name; dropping what this gives removes its files.
async fn take(engine: &Engine, name: &str) -> ApiResult<Option<Gone>> {
    let _alone = engine.volumes.gate.write().await;
    let users = users(engine, name);
    if !users.is_empty() {
        let text = format!("remove {name}: volume is in use - [{}]", users.join(", "));
        return Err(ApiError::conflict(text));
    }
    let gone = engine.volumes.take_out(name)?;
    if gone.is_some() {
        engine.events.publish(event(name, "destroy"));
    }
    Ok(gone)
}

/// Takes a removed container's anonymous volumes, but for those that another container shares. Dropping them removes
/// their files.
pub async fn take_anonymous(engine: &Engine, mounts: &[MountPoint]) -> Vec<Gone> {
    let mut taken = Vec::new();
    for mount in mounts.iter().filter(|mount| mount.kind == MountKind::Volume && mount.anonymous) {
        match take(engine, &mount.name).await {
            Ok(gone) => taken.extend(gone),
            Err(error) if error.status == StatusCode::CONFLICT => {}
            Err(error) => tracing::warn!("{error}"),
        }
    }
    taken
}

/// An event about a volume.
pub fn event(name: &str, action: &str) -> Event {
    Event::now("volume", action, name).with("driver", "local")
}

/// Name, driver and options, as Docker checks them.
fn check(name: &str, driver: &str, options: &BTreeMap<String, String>) -> ApiResult<()> {
    let wrong = |text: String| Err(ApiError::bad_request(text));
    if !matches!(driver, "" | "default" | "local") {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            format!("create {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found"),
        ));
    }
    if !name.is_empty() {
        check_name(name).map_err(ApiError::bad_request)?;
    }
    if let Some(key) = options.keys().find(|key| !["type", "o", "device"].contains(&key.as_str())) {
        return wrong(format!("create {name}: invalid option: \"{key}\""));
    }
    if options.is_empty() {
        return Ok(());
    }
    let option = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    let mut words = option("o").split(',').filter(|word| !word.is_empty());
    let binds = words.clone().any(|word| matches!(word, "bind" | "rbind"));
    if !binds || !matches!(option("type"), "" | "none") {
        return wrong(format!(
            "create {name}: the local driver mounts directories of the host only (type=none,o=bind,device=/path): for \
             memory use --tmpfs, for a network's file system mount it on the host first"
        ));
    }
    if let Some(word) = words.find(|word| !matches!(*word, "bind" | "rbind" | "ro" | "rw")) {
        return wrong(format!("create {name}: mount option {word:?} is not supported"));
    }
    if !Path::new(option("device")).is_absolute() {
        return wrong(format!("create {name}: missing device in volume options: it is an absolute path"));
    }
    Ok(())
}

/// Docker's rule for names, and its words.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.len() == 1 {
        return Err(
            "volume name is too short, names should be at least two alphanumeric characters".to_owned()
        );
    }
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if plain && name.as_bytes()[0].is_ascii_alphanumeric() && name.len() <= 255 {
        return Ok(());
    }
    Err(format!(
        "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    ))
}

#[cfg(test)]
mod tests;
