//! Directories that a layer uses without listing them.
//!
//! Many builders write `usr/bin/tool` without entries for `usr/` and `usr/bin/`. In an overlay the upper directory's
//! metadata wins, so a made-up 0755 would open a private directory or lose `/tmp`'s sticky bit. Such a directory gets
//! its metadata from the topmost layer below that has it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::error::IoContext;

/// Gives `implied` directories of the layer `upper` the metadata they have in `lower` (topmost first).
pub(crate) fn settle(upper: &Path, implied: &[Vec<u8>], lower: &[PathBuf]) -> Result<(), Error> {
    // Children first: setting a child's metadata does not change its parent's times, but keeps the order obvious.
    for path in implied.iter().rev() {
        let relative = Path::new(OsStr::from_bytes(path));
        if let Some(model) = find(relative, lower) {
            copy_metadata(&model, &upper.join(relative))?;
        }
    }
    Ok(())
}

/// The directory that shows through from below, if any. No symlink is followed: an implied path that crosses one in
/// a lower layer hides it, so nothing shows through.
fn find(path: &Path, lower: &[PathBuf]) -> Option<PathBuf> {
    for layer in lower {
        let mut here = layer.clone();
        let mut opaque = false;
        let mut found = true;
        for part in path.components() {
            opaque |= is_opaque(&here);
            here.push(part);
            match here.symlink_metadata() {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => return None,
                Err(_) => {
                    found = false;
                    break;
                }
            }
        }
        if found {
            return Some(here);
        }
        if opaque {
            return None;
        }
    }
    None
}

fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 8];
    ["trusted.overlay.opaque", "user.overlay.opaque"].iter().any(
        |name| matches!(rustix::fs::lgetxattr(directory, *name, &mut value[..]), Ok(1) if value[0] == b'y'),
    )
}

fn copy_metadata(from: &Path, to: &Path) -> Result<(), Error> {
    let meta = from.symlink_metadata().at(from)?;
    if rustix::process::geteuid().is_root() {
        chown(to, Some(meta.uid()), Some(meta.gid())).at(to)?;
    }
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(meta.mode() & 0o7777)).at(to)?;
    let time = meta.modified().at(from)?;
    std::fs::File::open(to).and_then(|directory| directory.set_modified(time)).at(to)
}
