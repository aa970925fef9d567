//! From tar to files. The archive is a client's, or another container's: it is read with suspicion, and everything it
//! makes is made below one directory. Links that are there already lead where a program in the container would get.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use tar::{Archive, Entry, EntryType};

use crate::Failure;
use crate::stat::clean;

/// How to extract.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Refuse to put a file in a directory's place, or a directory in a file's.
    pub keep_kinds: bool,
    /// The owner and group of everything; else those that the archive says.
    pub owner: Option<(u32, u32)>,
}

/// Extracts `archive` below the directory `text`.
pub fn write(text: &str, archive: impl Read, options: Options) -> Result<(), Failure> {
    let root = clean(text);
    let metadata = fs::metadata(&root).map_err(Failure::at(&root))?;
    if !metadata.is_dir() {
        return Err(Failure::NotADirectory);
    }
    let mut archive = Archive::new(archive);
    // Directories get their modes and times last: until then they are written to.
    let mut directories = BTreeMap::new();
    let broken = |error: io::Error| Failure::Invalid(format!("Error processing tar file: {error}"));
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = entry.path().map_err(broken)?.into_owned();
        let Some(path) = below(&root, &name)? else { continue };
        let about = About::of(&mut entry, options).map_err(broken)?;
        extract(&root, &path, &mut entry, &about, options)?;
        match about.kind {
            EntryType::Directory => drop(directories.insert(path, about)),
            EntryType::Link => {}
            _ => about.set(&path, true).map_err(Failure::at(&path))?,
        }
    }
    for (path, about) in directories.into_iter().rev() {
        about.set(&path, false).map_err(Failure::at(&path))?;
    }
    Ok(())
}

/// Where an entry belongs; `None` for the directory itself. A name that goes up is refused.
fn below(root: &Path, name: &Path) -> Result<Option<PathBuf>, Failure> {
    let mut path = root.to_owned();
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => {
                return Err(Failure::Invalid(format!(
                    "invalid path {}: it leads out of the destination",
                    name.display()
                )));
            }
            _ => {}
        }
    }
    Ok((path != root).then_some(path))
}

/// What an entry's header says.
struct About {
    kind: EntryType,
    mode: u32,
    owner: (u32, u32),
    modified: i64,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl About {
    fn of(entry: &mut Entry<'_, impl Read>, options: Options) -> io::Result<Self> {
        let mut xattrs = Vec::new();
        if let Some(records) = entry.pax_extensions()? {
            for record in records {
                let record = record?;
                if let Some(name) = record.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr.")) {
                    xattrs.push((name.to_owned(), record.value_bytes().to_owned()));
                }
            }
        }
        let header = entry.header();
        let number = |value: u64| u32::try_from(value).map_err(io::Error::other);
        Ok(Self {
            kind: header.entry_type(),
            mode: header.mode()? & 0o7777,
            owner: match options.owner {
                Some(owner) => owner,
                None => (number(header.uid()?)?, number(header.gid()?)?),
            },
            modified: i64::try_from(header.mtime()?).unwrap_or(0),
            xattrs,
        })
    }

    /// Owner, mode, extended attributes, time; the owner first, since changing it takes bits away. `fresh`: the file was
    /// just made, so no link can be in its place but one that was asked for.
    fn set(&self, path: &Path, fresh: bool) -> io::Result<()> {
        let link = self.kind == EntryType::Symlink;
        if fresh {
            std::os::unix::fs::lchown(path, Some(self.owner.0), Some(self.owner.1))?;
        } else {
            std::os::unix::fs::chown(path, Some(self.owner.0), Some(self.owner.1))?;
        }
        if !link {
            fs::set_permissions(path, fs::Permissions::from_mode(self.mode))?;
            for (name, value) in &self.xattrs {
                match rustix::fs::lsetxattr(path, name.as_str(), value, XattrFlags::empty()) {
                    // This file system does not know them, or we may not: as with Docker the file counts more.
                    Ok(()) | Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::PERM) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let time = Timespec { tv_sec: self.modified, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        let flags = if fresh { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
        Ok(rustix::fs::utimensat(CWD, path, &times, flags)?)
    }
}

fn extract(
    root: &Path,
    path: &Path,
    entry: &mut Entry<'_, impl Read>,
    about: &About,
    options: Options,
) -> Result<(), Failure> {
    let failed = || Failure::at(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Failure::at(parent))?;
    }
    let is_directory = about.kind == EntryType::Directory;
    match fs::symlink_metadata(path) {
        Ok(there) => {
            // A link to a directory may stand for it.
            let holds = is_directory && fs::metadata(path).is_ok_and(|end| end.is_dir());
            if options.keep_kinds && there.is_dir() && !is_directory {
                return Err(Failure::Invalid(format!(
                    "cannot overwrite directory \"{}\" with non-directory \"{}\"",
                    path.display(),
                    root.display()
                )));
            }
            if options.keep_kinds && is_directory && !holds {
                return Err(Failure::Invalid(format!(
                    "cannot overwrite non-directory \"{}\" with directory \"{}\"",
                    path.display(),
                    root.display()
                )));
            }
            if holds {
                return Ok(());
            }
            let removed = if there.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.map_err(failed())?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed()(error)),
    }
    make(root, path, entry, about)
}

fn make(root: &Path, path: &Path, entry: &mut Entry<'_, impl Read>, about: &About) -> Result<(), Failure> {
    let target = |entry: &Entry<'_, _>| {
        let name = entry.link_name().ok().flatten().map(std::borrow::Cow::into_owned);
        name.ok_or_else(|| Failure::Invalid(format!("{}: a link without a target", path.display())))
    };
    match about.kind {
        EntryType::Directory => fs::create_dir(path).map_err(Failure::at(path)),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mut options = fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(path);
            let mut file = file.map_err(Failure::at(path))?;
            io::copy(entry, &mut file).map(drop).map_err(Failure::at(path))
        }
        EntryType::Symlink => std::os::unix::fs::symlink(target(entry)?, path).map_err(Failure::at(path)),
        EntryType::Link => {
            let first = below(root, &target(entry)?)?
                .ok_or_else(|| Failure::Invalid("a hard link to the destination itself".to_owned()))?;
            fs::hard_link(first, path).map_err(Failure::at(path))
        }
        EntryType::Fifo | EntryType::Char | EntryType::Block => {
            let kind = match about.kind {
                EntryType::Fifo => FileType::Fifo,
                EntryType::Char => FileType::CharacterDevice,
                _ => FileType::BlockDevice,
            };
            let number = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
            let header = entry.header();
            let device = rustix::fs::makedev(number(header.device_major()), number(header.device_minor()));
            rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device)
                .map_err(|error| Failure::at(path)(error.into()))
        }
        kind => {
            Err(Failure::Invalid(format!("{}: unhandled tar header type {}", path.display(), kind.as_byte())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        let from = base.path().join("from");
        fs::create_dir_all(from.join("sub/deep")).unwrap();
        fs::create_dir(base.path().join("to")).unwrap();
        fs::write(from.join("sub/file"), "content").unwrap();
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(from.join("sub/file"), from.join("sub/other")).unwrap();
        std::os::unix::fs::symlink("/nowhere", from.join("sub/link")).unwrap();
        fs::write(from.join("sub/deep").join("n".repeat(200)), "long").unwrap();
        base
    }

    fn archive(path: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        crate::read(path.to_str().unwrap(), &mut bytes, |_, _| Ok(())).unwrap();
        bytes
    }

    #[test]
    fn what_goes_in_comes_out() {
        let base = tree();
        let bytes = archive(&base.path().join("from/sub"));
        let to = base.path().join("to");
        write(to.to_str().unwrap(), Cursor::new(bytes), Options::default()).unwrap();
        let file = fs::metadata(to.join("sub/file")).unwrap();
        assert_eq!((file.mode() & 0o7777, file.nlink()), (0o4751, 2));
        assert_eq!(fs::read_to_string(to.join("sub/other")).unwrap(), "content");
        assert_eq!(fs::read_link(to.join("sub/link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(fs::read_to_string(to.join("sub/deep").join("n".repeat(200))).unwrap(), "long");
    }

    #[test]
    fn kinds_are_kept_when_asked_and_names_never_go_up() {
        let base = tree();
        let (to, file) = (base.path().join("to"), base.path().join("from/sub/file"));
        let to = to.to_str().unwrap();
        let keep = Options { keep_kinds: true, owner: None };
        fs::create_dir(base.path().join("to/file")).unwrap();
        let error = write(to, Cursor::new(archive(&file)), keep).unwrap_err();
        assert!(error.to_string().contains("cannot overwrite directory"), "{error}");
        write(to, Cursor::new(archive(&file)), Options::default()).unwrap();
        assert!(base.path().join("to/file").is_file());
        assert!(matches!(write(file.to_str().unwrap(), io::empty(), keep), Err(Failure::NotADirectory)));
        assert!(matches!(write("/no/such/place", io::empty(), keep), Err(Failure::NotFound(_))));
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..11].copy_from_slice(b"x/../../bad");
        header.set_size(0);
        header.set_mode(0o644);
        header.set_entry_type(EntryType::Regular);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        let bytes = builder.into_inner().unwrap();
        assert!(matches!(write(to, Cursor::new(bytes), keep), Err(Failure::Invalid(_))));
        assert!(write(to, Cursor::new(vec![7; 2000]), keep).is_err());
    }
}
