//! A container's files as its overlay shows them, read without mounting it: the daemon looks up users in
//! `/etc/passwd` and copies the content of volumes, and trusts nothing in there. Every step opens one name below a
//! directory handle without following links; links are resolved here, inside the merged tree.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};

/// How many links one path may lead through, as the kernel has it.
const MOST_LINKS: u32 = 40;

/// Layer directories, topmost first.
#[derive(Debug)]
pub struct Layers {
    roots: Vec<Rc<OwnedFd>>,
}

/// Something in the merged tree.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub stat: Stat,
    /// The directory that holds it, and its name there; the topmost one.
    at: (Rc<OwnedFd>, OsString),
    /// For a directory: its parts, topmost first.
    parts: Vec<Rc<OwnedFd>>,
}

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Layers {
    /// Opens the layers.
    pub fn open<'a>(directories: impl IntoIterator<Item = &'a Path>) -> io::Result<Self> {
        let open = |path: &Path| Ok(Rc::new(rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?));
        Ok(Self { roots: directories.into_iter().map(open).collect::<io::Result<_>>()? })
    }

    /// What an absolute path leads to, through links; `None` when there is nothing.
    pub fn find(&self, path: &Path) -> io::Result<Option<Entry>> {
        let mut trail: Vec<Entry> = Vec::new();
        let mut rest: Vec<OsString> = names(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                trail.pop();
                continue;
            }
            let parents = trail.last().map_or(self.roots.as_slice(), |entry| entry.parts.as_slice());
            let Some(entry) = look_up(parents, &name)? else { return Ok(None) };
            if kind(&entry.stat) == FileType::Symlink {
                links += 1;
                if links > MOST_LINKS {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = entry.link()?;
                if target.is_absolute() {
                    trail.clear();
                }
                rest.extend(names(&target));
                continue;
            }
            if !rest.is_empty() && kind(&entry.stat) != FileType::Directory {
                return Ok(None);
            }
            trail.push(entry);
        }
        match trail.pop() {
            Some(entry) => Ok(Some(entry)),
            None => self.root().map(Some),
        }
    }

    /// Where a path leads to, through links, and what is there. What does not exist yet is taken as it is written.
    pub fn resolve(&self, path: &Path) -> io::Result<(PathBuf, Option<FileType>)> {
        let (mut real, mut rest, mut links) = (PathBuf::from("/"), names(path), 0);
        let mut kind = Some(FileType::Directory);
        while let Some(name) = rest.pop() {
            if name == ".." {
                real.pop();
                kind = self.find(&real)?.map(|entry| entry.kind());
                continue;
            }
            let parent = self.find(&real)?;
            let parts = parent.as_ref().map_or(&[][..], |entry| entry.parts.as_slice());
            let entry = look_up(parts, &name)?;
            if let Some(entry) = entry.as_ref().filter(|entry| entry.kind() == FileType::Symlink) {
                links += 1;
                if links > MOST_LINKS {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = entry.link()?;
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                rest.extend(names(&target));
                continue;
            }
            real.push(name);
            kind = entry.map(|entry| entry.kind());
        }
        Ok((real, kind))
    }

    /// The content of a regular file, at most `limit` bytes; `None` when there is no such file.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.find(path)? {
            Some(entry) if kind(&entry.stat) == FileType::RegularFile => {
                let mut content = Vec::new();
                entry.open()?.take(limit).read_to_end(&mut content)?;
                Ok(Some(content))
            }
            _ => Ok(None),
        }
    }

    fn root(&self) -> io::Result<Entry> {
        let top = self.roots.first().ok_or(io::ErrorKind::NotFound)?;
        let stat = rustix::fs::statat(top, "", AtFlags::EMPTY_PATH)?;
        Ok(Entry { stat, at: (Rc::clone(top), OsString::from(".")), parts: self.roots.clone() })
    }
}

impl Entry {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> FileType {
        kind(&self.stat)
    }

    /// Where a link leads.
    pub fn link(&self) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(&self.at.0, self.at.1.as_os_str(), Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Opens a regular file.
    pub fn open(&self) -> io::Result<File> {
        // NONBLOCK: should the file have become a pipe since, opening it must not wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(File::from(rustix::fs::openat(&self.at.0, self.at.1.as_os_str(), flags, Mode::empty())?))
    }

    /// A readable handle of a regular file, or of a directory's topmost part.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match self.parts.first() {
            Some(directory) => Ok(rustix::fs::openat(directory, ".", flags, Mode::empty())?),
            None => Ok(self.open()?.into()),
        }
    }

    /// The names in a directory, and what they are, without following links.
    pub fn children(&self) -> io::Result<Vec<(OsString, Entry)>> {
        let mut seen = std::collections::BTreeSet::new();
        for part in &self.parts {
            let readable = rustix::fs::openat(
                part,
                ".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            for entry in rustix::fs::Dir::read_from(&readable)? {
                let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
                if name != "." && name != ".." {
                    seen.insert(name);
                }
            }
        }
        let mut children = Vec::new();
        for name in seen {
            if let Some(entry) = look_up(&self.parts, &name)? {
                children.push((name, entry));
            }
        }
        Ok(children)
    }
}

/// Path components, last first; what is not a name or `..` does not count.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The topmost entry of that name in directories that are merged. A whiteout hides what is below it; so does
/// anything that is not a directory, and an opaque directory.
fn look_up(parents: &[Rc<OwnedFd>], name: &OsStr) -> io::Result<Option<Entry>> {
    let mut found: Option<Entry> = None;
    for parent in parents {
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
            Err(error) => return Err(error.into()),
        };
        let is_directory = kind(&stat) == FileType::Directory;
        let whiteout = kind(&stat) == FileType::CharacterDevice && stat.st_rdev == 0;
        if whiteout || (found.is_some() && !is_directory) {
            break;
        }
        let entry = found.get_or_insert_with(|| Entry {
            stat,
            at: (Rc::clone(parent), name.to_owned()),
            parts: Vec::new(),
        });
        if !is_directory {
            break;
        }
        let part = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
        let opaque = is_opaque(&part);
        entry.parts.push(Rc::new(part));
        if opaque {
            break;
        }
    }
    Ok(found)
}

fn is_opaque(directory: &impl AsFd) -> bool {
    // Extended attributes cannot be read through an O_PATH handle itself.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(readable) = rustix::fs::openat(directory, ".", flags, Mode::empty()) else { return false };
    let mut value = [0_u8; 4];
    rustix::fs::fgetxattr(&readable, "trusted.overlay.opaque", &mut value[..])
        .is_ok_and(|n| n == 1 && value[0] == b'y')
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, Layers) {
        let base = tempfile::tempdir().unwrap();
        let (upper, lower) = (base.path().join("upper"), base.path().join("lower"));
        for directory in ["upper/etc", "lower/etc", "lower/usr/etc", "lower/only"] {
            fs::create_dir_all(base.path().join(directory)).unwrap();
        }
        fs::write(base.path().join("secret"), "host").unwrap();
        fs::write(upper.join("etc/passwd"), "upper").unwrap();
        fs::write(lower.join("etc/passwd"), "lower").unwrap();
        fs::write(lower.join("etc/group"), "lower").unwrap();
        fs::write(lower.join("usr/etc/real"), "real").unwrap();
        symlink("/usr/etc/real", upper.join("etc/link")).unwrap();
        symlink("../../../../../../secret", upper.join("etc/escape")).unwrap();
        symlink("loop", upper.join("etc/loop")).unwrap();
        let layers = Layers::open([upper.as_path(), lower.as_path()]).unwrap();
        (base, layers)
    }

    fn read(layers: &Layers, path: &str) -> Option<String> {
        layers.read(Path::new(path), 100).unwrap().map(|content| String::from_utf8(content).unwrap())
    }

    #[test]
    fn the_topmost_wins_and_directories_merge() {
        let (_base, layers) = tree();
        assert_eq!(read(&layers, "/etc/passwd").as_deref(), Some("upper"));
        assert_eq!(read(&layers, "/etc/group").as_deref(), Some("lower"));
        assert_eq!(read(&layers, "/etc/nothing"), None);
        assert_eq!(read(&layers, "/etc/passwd/x"), None);
        let names: Vec<_> = layers.find(Path::new("/etc")).unwrap().unwrap().children().unwrap();
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn links_stay_inside() {
        let (_base, layers) = tree();
        assert_eq!(read(&layers, "/etc/link").as_deref(), Some("real"));
        assert_eq!(read(&layers, "/etc/escape"), None);
        assert!(layers.find(Path::new("/etc/loop")).is_err());
        assert!(layers.find(Path::new("/")).unwrap().is_some());
    }

    #[test]
    fn places_are_resolved_before_they_exist() {
        let (_base, layers) = tree();
        let resolve = |path: &str| layers.resolve(Path::new(path)).unwrap();
        assert_eq!(resolve("/etc/link"), (PathBuf::from("/usr/etc/real"), Some(FileType::RegularFile)));
        assert_eq!(resolve("/etc/../new/x/"), (PathBuf::from("/new/x"), None));
        assert_eq!(resolve("/etc/escape"), (PathBuf::from("/secret"), None));
        assert!(layers.resolve(Path::new("/etc/loop")).is_err());
    }

    #[test]
    fn whiteouts_hide() {
        if !rustix::process::geteuid().is_root() {
            println!("not run: making a whiteout needs root");
            return;
        }
        let (base, layers) = tree();
        let whiteout = base.path().join("upper/only");
        rustix::fs::mknodat(CWD, &whiteout, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        assert!(layers.find(Path::new("/only")).unwrap().is_none());
    }
}
