//! Directories that an image declares as volumes. Volumes with names of their own come with the volumes issue; until
//! then such a directory is the container's own, beside its writable layer, goes when the container goes, and begins
//! with what the image has in that place, as Docker's anonymous volumes do.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use super::layers::{Entry, Layers};
use super::spec::mounts::anonymous_source;

/// Makes the volume for `destination` below the container's directory, once.
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
    let source = layers.find(Path::new(destination))?;
    match source.filter(|entry| entry.kind() == FileType::Directory) {
        Some(directory) => copy_directory(&directory, &scratch)?,
        None => std::fs::set_permissions(&scratch, std::fs::Permissions::from_mode(0o755))?,
    }
    std::fs::rename(&scratch, &target)
}

fn copy_directory(from: &Entry, to: &Path) -> io::Result<()> {
    for (name, entry) in from.children()? {
        let target = to.join(&name);
        match entry.kind() {
            FileType::Directory => {
                std::fs::create_dir(&target)?;
                copy_directory(&entry, &target)?;
                continue;
            }
            FileType::RegularFile => {
                io::copy(&mut entry.open()?, &mut std::fs::File::create_new(&target)?)?;
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

/// Owner, mode and times. The owner comes first, since changing it takes set-user-ID bits away.
fn keep_attributes(entry: &Entry, target: &Path) -> io::Result<()> {
    let stat = &entry.stat;
    std::os::unix::fs::lchown(target, Some(stat.st_uid), Some(stat.st_gid))?;
    if entry.kind() != FileType::Symlink {
        std::fs::set_permissions(target, std::fs::Permissions::from_mode(stat.st_mode & 0o7777))?;
    }
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)?)
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
