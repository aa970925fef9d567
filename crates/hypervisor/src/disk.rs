//! The writable disk: ext4, sparse, made by copying a template that is formatted once for each size.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::VmError;

/// Makes the new disk `path` of `size` bytes. Templates are kept in the directory `templates`, which is made when it
/// does not exist. The disk is empty apart from the directories `upper` and `work` that the guest overlays.
///
/// It blocks for some 10 ms, the first time for one second.
pub fn create_writable(path: &Path, size: u64, templates: &Path) -> Result<(), VmError> {
    let template = template(size, templates)?;
    cofferdam_sys::disk::copy_sparse(&template, path).map_err(file(path))?;
    Ok(())
}

fn template(size: u64, directory: &Path) -> Result<PathBuf, VmError> {
    let template = directory.join(format!("writable-{size}.ext4"));
    if template.exists() {
        return Ok(template);
    }
    std::fs::create_dir_all(directory).map_err(file(directory))?;
    // A name of its own and a rename at the end: two callers may race, and a crash leaves no half template.
    let scratch =
        directory.join(format!(".writable-{size}.{}.{:?}", std::process::id(), std::thread::current().id()));
    let result =
        format(&scratch, size).and_then(|()| std::fs::rename(&scratch, &template).map_err(file(&template)));
    if result.is_err() {
        std::fs::remove_file(&scratch).ok();
    }
    result.map(|()| template)
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
