//! Copy-up: an empty volume begins with what the image has in its place. The content is gathered beside the volume and
//! complete before it has the name `fill`; then it is moved in, by renames only. A daemon that dies in between
//! goes on at its next start. Of two containers that are made at once one copies, the other finds a volume with content.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::PoisonError;

use super::Volume;
use crate::containers::Layers;
use crate::containers::copy_content;

/// Fills an empty volume with what the image has at `destination`. Blocking.
pub fn fill(volume: &Volume, layers: &Layers, destination: &str) -> io::Result<()> {
    if !volume.about.options.is_empty() {
        // A directory of the host's is the user's to fill.
        return Ok(());
    }
    let _alone = volume.filling.lock().unwrap_or_else(PoisonError::into_inner);
    if fs::read_dir(volume.data())?.next().is_some() {
        return Ok(());
    }
    let scratch = volume.directory.join("fill.new");
    match fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(&scratch)?;
    if copy_content(layers, destination, &scratch)? {
        fs::rename(&scratch, volume.directory.join("fill"))?;
        return finish(volume);
    }
    fs::remove_dir(&scratch)
}

/// Moves what was gathered into the volume.
pub(super) fn finish(volume: &Volume) -> io::Result<()> {
    let (from, to) = (volume.directory.join("fill"), volume.data());
    let about = match fs::symlink_metadata(&from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        about => about?,
    };
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        // What a container has written meanwhile is newer.
        if fs::symlink_metadata(&target).is_err() {
            fs::rename(entry.path(), &target)?;
        }
    }
    own(&about, &to)?;
    fs::remove_dir_all(&from)
}

fn own(about: &fs::Metadata, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    std::os::unix::fs::chown(to, Some(about.uid()), Some(about.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(about.mode() & 0o7777))
}
