//! What tells a verified file from one that was changed since.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A text that is the same as long as none of the files is written, replaced or given other rights.
pub(super) fn of<'a>(directory: &Path, names: impl Iterator<Item = &'a String>) -> io::Result<String> {
    names.map(|name| of_file(name, &directory.join(name))).collect()
}

/// The same of one file. The change time is the kernel's: nobody can set it.
pub(super) fn of_file(name: &str, path: &Path) -> io::Result<String> {
    let file = std::fs::metadata(path)?;
    let (seconds, nanoseconds) = (file.ctime(), file.ctime_nsec());
    let (device, inode, size) = (file.dev(), file.ino(), file.size());
    Ok(format!("{name} {device} {inode} {size} {seconds}.{nanoseconds}\n"))
}
