//! Which image a step has made before, by what it is made of; on disk in one file that is replaced as a whole.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_image::{Digest, Image};
use serde::{Deserialize, Serialize};

/// Steps remembered. The oldest keys are as good as any to forget: their steps run once more.
const MOST: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    image: String,
    /// Whether it is only a step on the way.
    between: bool,
}

/// The cache, and how many builds there are.
pub struct Builds {
    file: PathBuf,
    made: Mutex<BTreeMap<String, Made>>,
    running: AtomicUsize,
}

/// A build under way, for as long as it lives.
pub struct Running<'a>(&'a Builds);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Builds {
    /// Reads the file. One that is damaged is an empty cache.
    pub fn open(file: PathBuf) -> Self {
        let made = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { file, made: Mutex::new(made.unwrap_or_default()), running: AtomicUsize::new(0) }
    }

    /// A build begins.
    pub fn begin(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(self)
    }

    /// Whether steps on the way may be in use.
    pub fn any_runs(&self) -> bool {
        self.running.load(Ordering::SeqCst) > 0
    }

    /// The image that a step with this key has made.
    pub fn find(&self, key: &Digest) -> Option<Digest> {
        self.lock().get(&key.to_string()).and_then(|made| made.image.parse().ok())
    }

    /// Remembers it.
    pub fn remember(&self, key: &Digest, image: &Digest) -> std::io::Result<()> {
        let mut made = self.lock();
        if made.len() >= MOST {
            made.pop_first();
        }
        made.insert(key.to_string(), Made { image: image.to_string(), between: true });
        self.save(&made)
    }

    /// An image is what somebody wanted, and no step on the way any more.
    pub fn keep(&self, image: &Digest) -> std::io::Result<()> {
        let mut made = self.lock();
        let image = image.to_string();
        made.values_mut().filter(|made| made.image == image).for_each(|made| made.between = false);
        self.save(&made)
    }

    /// Whether an image is a step on the way that nobody has named.
    pub fn hides(&self, image: &Image) -> bool {
        let id = image.id().to_string();
        image.names().is_empty() && self.lock().values().any(|made| made.between && made.image == id)
    }

    /// Forgets keys whose images are gone.
    pub fn forget(&self, there: impl Fn(&Digest) -> bool) -> std::io::Result<()> {
        let mut made = self.lock();
        made.retain(|_, made| made.image.parse().is_ok_and(|image| there(&image)));
        self.save(&made)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, made: &BTreeMap<String, Made>) -> std::io::Result<()> {
        let directory = self.file.parent().ok_or(std::io::ErrorKind::NotFound)?;
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec(made)?)?;
        file.persist(&self.file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("build/cache.json");
        let (key, image) = (Digest::of(b"key"), Digest::of(b"image"));
        let builds = Builds::open(file.clone());
        assert_eq!(builds.find(&key), None);
        builds.remember(&key, &image).unwrap();
        let builds = Builds::open(file.clone());
        assert_eq!(builds.find(&key), Some(image));
        builds.forget(|_| false).unwrap();
        assert_eq!(Builds::open(file.clone()).find(&key), None);
        std::fs::write(&file, "{").unwrap();
        assert_eq!(Builds::open(file).find(&key), None);
    }
}
