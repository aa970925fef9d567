//! A minimal root directory, made of read-only bind mounts in a mount namespace of one's own.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

/// A root under construction.
pub struct Root(PathBuf);

impl Root {
    /// Mounts an empty root at `at`. The mount namespace must be a new one.
    pub fn new(at: &Path) -> Result<Self> {
        rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .context("private mounts")?;
        rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::NOSUID, c"mode=0755,size=64k,nr_inodes=1k")
            .with_context(|| at.display().to_string())?;
        Ok(Self(at.to_owned()))
    }

    /// The system's programs, libraries and firmware, read-only.
    pub fn add_system(&self) -> Result<()> {
        for name in ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            let source = Path::new("/").join(name);
            match fs::symlink_metadata(&source) {
                Ok(data) if data.is_symlink() => {
                    let to = fs::read_link(&source).with_context(|| source.display().to_string())?;
                    std::os::unix::fs::symlink(to, self.0.join(name)).with_context(|| name.to_owned())?;
                }
                Ok(data) if data.is_dir() => self.bind(&source, &source, true)?,
                _ => {}
            }
        }
        let cache = Path::new("/etc/ld.so.cache");
        if cache.exists() {
            self.add_file(cache, cache)?;
        }
        Ok(())
    }

    /// One file of the host, read-only.
    pub fn add_file(&self, source: &Path, target: &Path) -> Result<()> {
        self.bind(source, target, true)
    }

    /// A new file.
    pub fn write_file(&self, target: &Path, bytes: &[u8]) -> Result<()> {
        let inside = self.inside(target)?;
        fs::write(&inside, bytes).with_context(|| inside.display().to_string())
    }

    /// A new program.
    pub fn write_program(&self, target: &Path, bytes: &[u8]) -> Result<()> {
        let inside = self.inside(target)?;
        fs::write(&inside, bytes)
            .and_then(|()| fs::set_permissions(&inside, fs::Permissions::from_mode(0o555)))
            .with_context(|| inside.display().to_string())
    }

    /// One device node of `/dev`.
    pub fn add_device(&self, name: &str) -> Result<()> {
        let path = Path::new("/dev").join(name);
        let inside = self.inside(&path)?;
        rustix::mount::mount_bind(&path, &inside).with_context(|| path.display().to_string())
    }

    /// The same device as one of `/dev`, by a node that is this user's alone. The host's own may be for root, or for a group
    /// (on Debian `kvm`) that the user is not in.
    pub fn add_device_of(&self, name: &str, user: u32) -> Result<()> {
        let path = Path::new("/dev").join(name);
        let device = fs::metadata(&path).with_context(|| path.display().to_string())?.rdev();
        let (inside, scratch) = (self.inside(&path)?, self.make(Path::new("/scratch"), true)?);
        // A file system of its own: the root's holds no devices. It lives on in the node's mount.
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        rustix::mount::mount("tmpfs", &scratch, "tmpfs", flags, c"mode=0755,size=4k,nr_inodes=8")
            .with_context(|| scratch.display().to_string())?;
        let node = scratch.join(name);
        rustix::fs::mknodat(CWD, &node, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, device)
            .map_err(std::io::Error::from)
            .and_then(|()| std::os::unix::fs::chown(&node, Some(user), Some(user)))
            .with_context(|| node.display().to_string())?;
        rustix::mount::mount_bind(&node, &inside).with_context(|| path.display().to_string())?;
        rustix::mount::unmount(&scratch, UnmountFlags::DETACH).context("device node")?;
        fs::remove_dir(&scratch).context("device node")
    }

    /// A directory or file of the host with everything mounted beneath it, without its device nodes' and set-user-ID
    /// files' powers.
    pub fn bind(&self, source: &Path, target: &Path, read_only: bool) -> Result<()> {
        let inside = self.inside_like(source, target)?;
        rustix::mount::mount_bind_recursive(source, &inside).with_context(|| source.display().to_string())?;
        let mut flags = MountFlags::BIND | MountFlags::NODEV | MountFlags::NOSUID;
        if read_only {
            flags |= MountFlags::RDONLY;
        }
        for mount in mounts_beneath(&inside)? {
            rustix::mount::mount_remount(&mount, flags, "").with_context(|| mount.display().to_string())?;
        }
        Ok(())
    }

    fn inside(&self, target: &Path) -> Result<PathBuf> {
        self.make(target, false)
    }

    fn inside_like(&self, source: &Path, target: &Path) -> Result<PathBuf> {
        let directory = fs::metadata(source).with_context(|| source.display().to_string())?.is_dir();
        self.make(target, directory)
    }

    /// Makes a mount point of the right kind.
    fn make(&self, target: &Path, directory: bool) -> Result<PathBuf> {
        let inside = self.0.join(target.strip_prefix("/").unwrap_or(target));
        let result = if directory {
            fs::create_dir_all(&inside)
        } else {
            inside.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&inside, ""))
        };
        result.with_context(|| inside.display().to_string())?;
        Ok(inside)
    }

    /// Makes it this process's root, read-only, and lets go of the host's.
    pub fn enter(self) -> Result<()> {
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o755)).context("jail root")?;
        rustix::process::chdir(&self.0).context("jail root")?;
        // Both arguments the same: the old root is stacked on the new one, and detached at once (pivot_root(2)).
        rustix::process::pivot_root(".", ".").context("pivot_root")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH).context("old root")?;
        rustix::process::chdir("/").context("jail root")?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount_remount("/", flags, "").context("jail root")
    }
}

/// The mount points at and beneath `path`, from `/proc/self/mountinfo`.
fn mounts_beneath(path: &Path) -> Result<Vec<PathBuf>> {
    let path = fs::canonicalize(path).with_context(|| path.display().to_string())?;
    let table = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    Ok(table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(unescape(point)))
        .filter(|point| point.starts_with(&path))
        .collect())
}

/// Undoes the octal escapes of `/proc/self/mountinfo` (proc(5)).
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_escapes_are_undone() {
        assert_eq!(unescape("/a\\040b\\134c"), "/a b\\c");
    }
}
