//! What a path is, as `X-Docker-Container-Path-Stat` says it.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use cofferdam_model::ArchiveStat;

use crate::Failure;

/// A path that a client names, as Docker reads it: a trailing slash or `/.` means what the link leads to.
pub(crate) struct Named {
    /// Absolute, cleaned of `.` and `..` by its text.
    pub path: PathBuf,
    /// The last name, `/` for the root, `.` after a trailing `/.`.
    pub base: String,
    /// What it is.
    pub metadata: Metadata,
}

impl Named {
    pub(crate) fn look_up(text: &str) -> Result<Self, Failure> {
        let path = clean(text);
        let follows = text.is_empty() || text.ends_with('/') || text.ends_with("/.") || text == ".";
        let metadata = if follows { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        let metadata = metadata.map_err(Failure::at(&path))?;
        if follows && !metadata.is_dir() {
            return Err(Failure::Invalid(format!("{text}: not a directory")));
        }
        let base = match path.file_name() {
            _ if text.ends_with("/.") && path.file_name().is_some() => ".".to_owned(),
            Some(name) => name.to_string_lossy().into_owned(),
            None => "/".to_owned(),
        };
        Ok(Self { path, base, metadata })
    }
}

/// An absolute path without `.`, `..` and doubled slashes, by its text alone.
pub(crate) fn clean(text: &str) -> PathBuf {
    let mut path = PathBuf::from("/");
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    path
}

/// What a path is.
pub fn stat(text: &str) -> Result<ArchiveStat, Failure> {
    Ok(describe(&Named::look_up(text)?))
}

pub(crate) fn describe(named: &Named) -> ArchiveStat {
    let metadata = &named.metadata;
    let link = metadata.is_symlink().then(|| target(&named.path));
    ArchiveStat {
        name: named.base.clone(),
        size: i64::try_from(metadata.size()).unwrap_or(i64::MAX),
        mode: go_mode(metadata),
        seconds: metadata.mtime(),
        nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
        link_target: link.unwrap_or_default(),
    }
}

/// Where a link leads in the end, or at least says that it leads.
fn target(path: &Path) -> String {
    let end = fs::canonicalize(path).or_else(|_| {
        let next = fs::read_link(path)?;
        Ok::<_, std::io::Error>(path.parent().unwrap_or(Path::new("/")).join(next))
    });
    end.map(|end| clean(&end.to_string_lossy()).to_string_lossy().into_owned()).unwrap_or_default()
}

/// Go's `os.FileMode`, which is what the API speaks.
fn go_mode(metadata: &Metadata) -> u32 {
    let (kind, mode) = (metadata.file_type(), metadata.mode());
    let bits = [
        (kind.is_dir(), 1 << 31),
        (kind.is_symlink(), 1 << 27),
        (kind.is_block_device() || kind.is_char_device(), 1 << 26),
        (kind.is_fifo(), 1 << 25),
        (kind.is_socket(), 1 << 24),
        (mode & 0o4000 != 0, 1 << 23),
        (mode & 0o2000 != 0, 1 << 22),
        (kind.is_char_device(), 1 << 21),
        (mode & 0o1000 != 0, 1 << 20),
    ];
    bits.iter().filter(|(is, _)| *is).fold(mode & 0o777, |mode, (_, bit)| mode | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        assert_eq!(clean("a/../../b//./c/"), Path::new("/b/c"));
        assert_eq!(clean(""), Path::new("/"));
    }

    #[test]
    fn links_are_followed_only_with_a_slash() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("dir")).unwrap();
        std::os::unix::fs::symlink("dir", base.path().join("link")).unwrap();
        let path = |name: &str| format!("{}/{name}", base.path().display());
        let link = stat(&path("link")).unwrap();
        assert_eq!((link.mode >> 27 & 1, link.name.as_str()), (1, "link"));
        assert!(link.link_target.ends_with("/dir"));
        let dir = stat(&path("link/")).unwrap();
        assert_eq!((dir.mode >> 31, dir.name.as_str()), (1, "link"));
        assert_eq!(stat(&path("dir/.")).unwrap().name, ".");
        assert!(matches!(stat(&path("none")), Err(Failure::NotFound(_))));
        fs::write(base.path().join("file"), "").unwrap();
        assert!(stat(&path("file/")).is_err());
    }
}
