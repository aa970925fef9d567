//! The content that an image has in a volume's place: the volume begins with it, as in Docker.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};

use super::layers::{Entry, Layers};
use super::spec::mounts::anonymous_source;

/// Makes the directory for `destination` below the container's own, once: containers made before volumes had names
/// have their anonymous volumes there.
pub fn fill(layers: &Layers, data: &Path, destination: &str) -> io::Result<()> {
    let target = anonymous_source(data, destination);
    if target.exists() {
        return Ok(());
    }
    let parent = data.join("volumes");
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&parent)?;
    // Complete only under its final name: a crash must not leave half of it.
    let scratch = parent.join(format!(".{}", cofferdam_model::random_hex(8)));
    std::fs::create_dir(&scratch)?;
    if !copy(layers, destination, &scratch)? {
        std::fs::set_permissions(&scratch, std::fs::Permissions::from_mode(0o755))?;
    }
    std::fs::rename(&scratch, &target)
}

/// Copies what the image has at `destination` into the empty directory `target`, with the directory's own owner and
/// mode; says whether there is such a directory.
pub fn copy(layers: &Layers, destination: &str, target: &Path) -> io::Result<bool> {
    let source = layers.find(Path::new(destination))?;
    match source.filter(|entry| entry.kind() == FileType::Directory) {
        Some(directory) => copy_directory(&directory, target, &mut HashMap::new()).map(|()| true),
        None => Ok(false),
    }
}

/// Files with several names, by device and inode: the first name in the copy.
type Linked = HashMap<(u64, u64), PathBuf>;

fn copy_directory(from: &Entry, to: &Path, linked: &mut Linked) -> io::Result<()> {
    for (name, entry) in from.children()? {
        let target = to.join(&name);
        let identity = (entry.stat.st_dev, entry.stat.st_ino);
        match entry.kind() {
            FileType::Directory => {
                std::fs::create_dir(&target)?;
                copy_directory(&entry, &target, linked)?;
                continue;
            }
            FileType::RegularFile => {
                if let Some(first) = linked.get(&identity) {
                    std::fs::hard_link(first, &target)?;
                    continue;
                }
                io::copy(&mut entry.open()?, &mut std::fs::File::create_new(&target)?)?;
                if entry.stat.st_nlink > 1 {
                    linked.insert(identity, target.clone());
                }
            }
            FileType::Symlink => std::os::unix::fs::symlink(entry.link()?, &target)?,
            FileType::Fifo => rustix::fs::mknodat(CWD, &target, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?,
            // Sockets are dead in a copy, and devices do not belong into data.
            _ => continue,
        }
        keep_attributes(&entry, &target)?;
    }
    keep_attributes(from, to)
}

/// Owner, mode, extended attributes and times. The owner comes first, since changing it takes set-user-ID bits and
/// capabilities away.
fn keep_attributes(entry: &Entry, target: &Path) -> io::Result<()> {
    let stat = &entry.stat;
    std::os::unix::fs::lchown(target, Some(stat.st_uid), Some(stat.st_gid))?;
    if entry.kind() != FileType::Symlink {
        std::fs::set_permissions(target, std::fs::Permissions::from_mode(stat.st_mode & 0o7777))?;
    }
    if matches!(entry.kind(), FileType::RegularFile | FileType::Directory) {
        keep_xattrs(&entry.handle()?, target)?;
    }
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// All but the overlay's own, which say how layers lie on each other.
fn keep_xattrs(from: &OwnedFd, target: &Path) -> io::Result<()> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if length == 0 {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let to = rustix::fs::openat(CWD, target, flags, Mode::empty())?;
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        match rustix::fs::fsetxattr(&to, name, &value[..length], XattrFlags::empty()) {
            // The volume's file system may know fewer kinds.
            Ok(()) | Err(rustix::io::Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_begins_with_the_images_content() {
        let base = tempfile::tempdir().unwrap();
        let layer = base.path().join("layer");
        std::fs::create_dir_all(layer.join("data/sub")).unwrap();
        std::fs::write(layer.join("data/sub/file"), "content").unwrap();
        std::fs::set_permissions(layer.join("data/sub/file"), std::fs::Permissions::from_mode(0o640))
            .unwrap();
        std::os::unix::fs::symlink("sub/file", layer.join("data/link")).unwrap();
        let layers = Layers::open([layer.as_path()]).unwrap();
        fill(&layers, base.path(), "/data").unwrap();
        fill(&layers, base.path(), "/new").unwrap();
        let volume = anonymous_source(base.path(), "/data");
        assert_eq!(std::fs::read_to_string(volume.join("link")).unwrap(), "content");
        let mode = std::fs::metadata(volume.join("sub/file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        assert!(anonymous_source(base.path(), "/new").is_dir());
        // What the container wrote since is not overwritten.
        std::fs::write(volume.join("sub/file"), "changed").unwrap();
        fill(&layers, base.path(), "/data").unwrap();
        assert_eq!(std::fs::read_to_string(volume.join("sub/file")).unwrap(), "changed");
    }
}
