//! Volumes' directories. Whatever is written here is right after `kill -9` at any line: things are complete before they
//! have their names, and nameless before they are taken apart.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{ANONYMOUS, About, Volume, check_name, fill};

const ABOUT: &str = "volume.json";

/// All volumes below `root`, which is made if it does not exist.
pub(super) fn open(root: &Path) -> io::Result<BTreeMap<String, Arc<Volume>>> {
    fs::DirBuilder::new().recursive(true).mode(0o701).create(root)?;
    let mut known = BTreeMap::new();
    for entry in fs::read_dir(root)? {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path()))?;
        let name = name.to_string_lossy().into_owned();
        if name.starts_with('.') {
            drop(Gone(path));
            continue;
        }
        if check_name(&name).is_err() || !path.join("_data").is_dir() {
            tracing::warn!("{}: not a volume, left alone", path.display());
            continue;
        }
        let volume =
            Volume { about: read(&path), name: name.clone(), directory: path, filling: Mutex::default() };
        if let Err(error) = fill::finish(&volume) {
            tracing::warn!("volume {name}: cannot copy the image's content: {error}");
        }
        known.insert(name, Arc::new(volume));
    }
    Ok(known)
}

/// A volume whose description was lost in a power cut is still a volume.
fn read(directory: &Path) -> About {
    let path = directory.join(ABOUT);
    let about = fs::read(&path).map_err(|error| error.to_string());
    about.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())).unwrap_or_else(
        |error| {
            tracing::warn!("{}: {error}", path.display());
            let created = fs::metadata(directory).ok().and_then(|metadata| metadata.modified().ok());
            let created = created.and_then(|time| time.try_into().ok());
            About { created: created.unwrap_or_default(), ..About::default() }
        },
    )
}

/// Makes a volume's directory; the name is free.
pub(super) fn make(root: &Path, name: &str, about: About) -> io::Result<Volume> {
    let scratch = root.join(format!(".new-{}", cofferdam_model::random_hex(16)));
    fs::DirBuilder::new().mode(0o701).create(&scratch)?;
    fs::create_dir(scratch.join("_data"))?;
    // Whatever the daemon's umask is.
    fs::set_permissions(scratch.join("_data"), Permissions::from_mode(0o755))?;
    let mut file = File::create_new(scratch.join(ABOUT))?;
    file.write_all(&serde_json::to_vec(&about)?)?;
    // Nobody looks for an anonymous volume after a power cut; its name is in no document of the user's.
    let lasting = !about.labels.contains_key(ANONYMOUS);
    if lasting {
        file.sync_all()?;
    }
    let directory = root.join(name);
    fs::rename(&scratch, &directory)?;
    if lasting {
        File::open(root)?.sync_all()?;
    }
    Ok(Volume { name: name.to_owned(), about, directory, filling: Mutex::default() })
}

/// A removed volume's files; dropping it removes them.
pub struct Gone(PathBuf);

impl Gone {
    pub(super) fn take(root: &Path, directory: &Path) -> io::Result<Self> {
        let gone = root.join(format!(".gone-{}", cofferdam_model::random_hex(16)));
        fs::rename(directory, &gone)?;
        Ok(Self(gone))
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            // The next start tries again.
            tracing::warn!("{}: {error}", self.0.display());
        }
    }
}

/// Bytes of the files below, without following links; those with several names count once for each.
pub(super) fn size_below(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_below(&entry.path()),
            Ok(metadata) if metadata.is_file() => metadata.size(),
            _ => 0,
        })
        .sum()
}
