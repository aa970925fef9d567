//! What a writable disk begins as: an empty ext4 file system, sparse, formatted once for each size.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::VmError;

/// The blank disk of `size` bytes. Blank disks are kept in `directory`, which is made when it does not exist; containers
/// get copies.
///
/// It blocks for one second the first time.
pub fn blank(size: u64, directory: &Path) -> Result<PathBuf, VmError> {
    let blank = directory.join(format!("writable-{size}.ext4"));
    if blank.exists() {
        return Ok(blank);
    }
    std::fs::create_dir_all(directory).map_err(file(directory))?;
    // A name of its own and a rename at the end: two callers may race, and a crash leaves no half disk.
    let scratch =
        directory.join(format!(".writable-{size}.{}.{:?}", std::process::id(), std::thread::current().id()));
    let result =
        format(&scratch, size).and_then(|()| std::fs::rename(&scratch, &blank).map_err(file(&blank)));
    if result.is_err() {
        std::fs::remove_file(&scratch).ok();
    }
    result.map(|()| blank)
}

fn format(path: &Path, size: u64) -> Result<(), VmError> {
    let disk = std::fs::File::create(path).map_err(file(path))?;
    disk.set_len(size).map_err(file(path))?;
    // Nothing is initialised later in the guest (lazy_*_init), a small journal is enough for one container, nothing
    // is reserved for root, and the disk is never checked by count or age.
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-b", "4096", "-m", "0", "-J", "size=16"])
        .args(["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"])
        .args(["-O", "^resize_inode,uninit_bg", "-L", "cofferdam"])
        .arg(path)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .map_err(|error| VmError::Mkfs(format!("{error}; it is in the package e2fsprogs")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(VmError::Mkfs(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> VmError {
    move |source| VmError::File { path: path.to_owned(), source }
}
