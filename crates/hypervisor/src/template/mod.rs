//! Saved VMs on disk, from which others are cloned: `<directory>/<key>/`.
//!
//! ```text
//! begin ──► .new-<key>-<random>/ ── finish: digests, record, rename ──► <key>/ ──► find ──► a clone's files
//!                │ dropped, or swept after a crash                       │  ▲ verified once after each boot of the host
//!                ▼                                                       ▼
//!              gone                                                    remove, prune (least recently used first)
//! ```
//!
//! A directory with a key's name is complete, because it got that name by a rename. Whoever comes second with the same
//! key finds the first one's and drops its own: two makers may race, in one daemon or in several that share the
//! directory.
//!
//! **Verified** means that the digests of the record were compared with the files, or the files were made, since the
//! host booted: a note in another directory, which a boot empties, names the files' inode, size and change time. A file
//! that was touched since is not verified any more.

mod digest;
mod note;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cofferdam_model::{Frozen, FrozenParts, FrozenRecord, TemplateRecord, TemplateSource, random_hex};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// What a guest's memory was.
const MEMORY: &str = "memory";
/// The hypervisor's device state.
const STATE: &str = "state";
/// The writable disk, of an image template.
const DISK: &str = "disk";
/// The worker process, if it was frozen ([`crate::Vm::freeze`]).
const PROCESS: &str = "process";
const PAGES: &str = "pages";
/// The record, and the file whose time says when the template was last used.
const RECORD: &str = "template.json";
const USED: &str = "used";
/// All but the record.
const FILES: [&str; 5] = [MEMORY, STATE, DISK, PROCESS, PAGES];
/// What a template under construction is called.
const SCRATCH: &str = ".new-";

/// The key that is derived from everything that decides what a template is.
#[must_use]
pub fn key_of(parts: &impl Serialize) -> String {
    // Plain data with text keys: it always has a text.
    hex::encode(Sha256::digest(serde_json::to_vec(parts).unwrap_or_default()))
}

/// A text that changes when one of these files is replaced or written.
pub fn identity_of<'a>(files: impl IntoIterator<Item = &'a Path>) -> io::Result<String> {
    let mut text = String::new();
    for file in files {
        text.push_str(&note::of_file(&file.to_string_lossy(), file)?);
    }
    Ok(text)
}

/// The memory size class of a VM that needs so many bytes: the next of 64 MiB times 1, 1.5, 2, 3, 4, 6, 8, … so that
/// VMs of slightly different sizes share a template.
#[must_use]
pub fn memory_class(bytes: u64) -> u64 {
    let mut class: u64 = 64 << 20;
    loop {
        if class >= bytes {
            return class;
        }
        let between = class.saturating_add(class / 2);
        if between >= bytes {
            return between;
        }
        class = class.saturating_mul(2);
        if class == u64::MAX {
            return class;
        }
    }
}

/// Templates in one directory.
#[derive(Clone, Debug)]
pub struct Templates {
    directory: PathBuf,
    verified: PathBuf,
}

/// A complete template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    directory: PathBuf,
    /// What is recorded about it.
    pub record: TemplateRecord,
}

/// How much of the disk templates may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many there may be.
    pub count: usize,
    /// Bytes on disk of all together.
    pub bytes: u64,
}

impl Templates {
    /// Those that `source` names.
    #[must_use]
    pub fn of(source: &TemplateSource) -> Self {
        Self { directory: source.directory.clone(), verified: source.verified.clone() }
    }

    /// The template of that key, if it is complete and verified. It counts as used from now.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Template> {
        let template = self.read(key)?;
        let expected = note::of(&template.directory, template.record.digests.keys()).ok()?;
        let noted = fs::read_to_string(self.verified.join(key)).ok()?;
        (noted == expected && !is_stale(&template.record)).then(|| {
            // A time that cannot be written makes it look older than it is, no more.
            fs::write(template.directory.join(USED), "").ok();
            template
        })
    }

    /// Compares digests unless that was done since the host's boot. A template that is not what its record says is
    /// removed. Says whether there is one that may be used. It reads the whole template: some 100 ms.
    pub fn verify(&self, key: &str) -> io::Result<bool> {
        if self.find(key).is_some() {
            return Ok(true);
        }
        let template = self.read(key).filter(|template| !is_stale(&template.record));
        let Some(template) = template else {
            // What is there can never be used: it makes way.
            self.remove(key)?;
            return Ok(false);
        };
        for (name, recorded) in &template.record.digests {
            if digest::of(&template.directory.join(name)).ok().as_ref() != Some(recorded) {
                tracing::warn!(key, "template {name} is not what it was: removed");
                self.remove(key)?;
                return Ok(false);
            }
        }
        self.note(key, &template)?;
        Ok(true)
    }

    /// A new template under construction.
    pub fn begin(&self, key: &str) -> io::Result<Scratch> {
        private_directory(&self.directory)?;
        let directory = self.directory.join(format!("{SCRATCH}{key}-{}", random_hex(4)));
        fs::create_dir(&directory)?;
        Ok(Scratch { directory, kept: false })
    }

    /// Gives a template that is whole its name. Another maker of the same may have been first: then that one stays.
    pub fn finish(&self, mut scratch: Scratch, mut record: TemplateRecord) -> io::Result<()> {
        for name in FILES {
            let path = scratch.directory.join(name);
            if !path.exists() {
                continue;
            }
            // Clones read it under other users; nobody writes it again.
            std::os::unix::fs::chown(&path, Some(0), Some(0))?;
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o444))?;
            record.digests.insert(name.to_owned(), digest::of(&path)?);
        }
        fs::write(scratch.directory.join(RECORD), serde_json::to_vec_pretty(&record)?)?;
        let target = self.directory.join(&record.key);
        match fs::rename(&scratch.directory, &target) {
            Ok(()) => scratch.kept = true,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) => {}
            Err(error) => return Err(error),
        }
        self.verify(&record.key).map(drop)
    }

    /// Every complete template with its size on disk and when it was last used, the latest first.
    #[must_use]
    pub fn list(&self) -> Vec<(TemplateRecord, u64, SystemTime)> {
        let mut found: Vec<_> = names(&self.directory)
            .filter(|name| !name.starts_with(SCRATCH))
            .filter_map(|key| self.read(&key))
            .map(|template| {
                let used = fs::metadata(template.directory.join(USED)).and_then(|file| file.modified());
                let created = u64::try_from(template.record.created).unwrap_or_default();
                let used = used.unwrap_or(SystemTime::UNIX_EPOCH + Duration::from_secs(created));
                (template.record, size(&template.directory), used)
            })
            .collect();
        found.sort_by_key(|(_, _, used)| std::cmp::Reverse(*used));
        found
    }

    /// Removes a template; VMs that were cloned from it go on. Says whether there was one.
    pub fn remove(&self, key: &str) -> io::Result<bool> {
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(false);
        }
        fs::remove_file(self.verified.join(key)).ok();
        // Under another name it is nobody's template any more, whatever happens to the rest.
        let doomed = self.directory.join(format!("{SCRATCH}{key}-{}", random_hex(4)));
        match fs::rename(self.directory.join(key), &doomed) {
            Ok(()) => fs::remove_dir_all(&doomed).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the least recently used until the rest is within bounds. `keep` are never removed.
    pub fn prune(&self, bounds: Bounds, keep: &[String]) {
        let (mut count, mut bytes) = (0, 0);
        for (record, size, _) in self.list() {
            count += 1;
            bytes += size;
            if (count > bounds.count || bytes > bounds.bytes) && !keep.contains(&record.key) {
                match self.remove(&record.key) {
                    Ok(_) => (count, bytes) = (count - 1, bytes - size),
                    Err(error) => tracing::warn!(key = record.key, "cannot remove a template: {error}"),
                }
            }
        }
    }

    /// Removes what makers that died left half made: what is older than any maker that may still be at work.
    pub fn sweep(&self, oldest_maker: Duration) {
        let dead = |name: &String| {
            let made = fs::metadata(self.directory.join(name)).and_then(|directory| directory.modified());
            made.is_ok_and(|made| made.elapsed().unwrap_or_default() >= oldest_maker)
        };
        for name in names(&self.directory).filter(|name| name.starts_with(SCRATCH)).filter(dead) {
            if let Err(error) = fs::remove_dir_all(self.directory.join(&name)) {
                tracing::warn!(name, "cannot sweep: {error}");
            }
        }
    }

    fn read(&self, key: &str) -> Option<Template> {
        let directory = self.directory.join(key);
        let record: TemplateRecord = serde_json::from_slice(&fs::read(directory.join(RECORD)).ok()?).ok()?;
        let whole =
            record.key == key && record.digests.contains_key(MEMORY) && record.digests.contains_key(STATE);
        let plain = record.digests.keys().all(|name| FILES.contains(&name.as_str()));
        (whole && plain).then_some(Template { directory, record })
    }

    fn note(&self, key: &str, template: &Template) -> io::Result<()> {
        private_directory(&self.verified)?;
        let scratch = self.verified.join(format!("{SCRATCH}{key}-{}", random_hex(4)));
        fs::write(&scratch, note::of(&template.directory, template.record.digests.keys())?)?;
        fs::rename(&scratch, self.verified.join(key))
    }
}

impl Template {
    /// The memory file: [`crate::Backing::Private`].
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.directory.join(MEMORY)
    }

    /// The device state: [`crate::Origin::Saved`].
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.join(STATE)
    }

    /// What a clone's writable disk begins as, of an image template.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.directory.join(DISK)
    }

    /// The frozen process, if there is one: [`crate::Origin::Frozen`].
    #[must_use]
    pub fn frozen(&self) -> Option<Frozen> {
        let record = self.record.frozen.as_ref()?;
        Some(Frozen {
            process: self.directory.join(PROCESS),
            pages: self.directory.join(PAGES),
            memory: self.memory(),
            files: record.files.clone(),
        })
    }
}

/// A template under construction; dropping it removes it.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    kept: bool,
}

impl Scratch {
    /// Where the frozen process's description goes.
    #[must_use]
    pub fn process(&self) -> PathBuf {
        self.directory.join(PROCESS)
    }

    /// Where its pages go.
    #[must_use]
    pub fn pages(&self) -> PathBuf {
        self.directory.join(PAGES)
    }

    /// Where the memory file goes.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.directory.join(MEMORY)
    }

    /// Where the device state goes.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.join(STATE)
    }

    /// Where the writable disk goes.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.directory.join(DISK)
    }

    /// A file that is no part of the template.
    #[must_use]
    pub fn other(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_dir_all(&self.directory)
        {
            tracing::warn!("cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// What is recorded about a process that was frozen now.
pub fn freeze_record(parts: FrozenParts) -> io::Result<FrozenRecord> {
    let identity = identity_of(parts.libraries.iter().map(PathBuf::as_path))?;
    Ok(FrozenRecord { host: this_boot()?, libraries: parts.libraries, identity, files: parts.files })
}

/// Whether a template holds a process that cannot go on any more: its libraries were replaced, or the host was booted,
/// perhaps with another kernel.
fn is_stale(record: &TemplateRecord) -> bool {
    let Some(frozen) = &record.frozen else { return false };
    let host = this_boot().is_ok_and(|host| host == frozen.host);
    let libraries = frozen.libraries.iter().map(PathBuf::as_path);
    !host || identity_of(libraries).ok().as_ref() != Some(&frozen.identity)
}

fn this_boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Guests' memory is nobody's to read.
fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn size(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.blocks() * 512).sum()
}

#[cfg(test)]
mod tests;
