//! Mount propagation and the overlay that is a container's root file system.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    UnmountFlags,
};

/// Makes every mount of this mount namespace a slave: mounts made here stay here, the host's still arrive.
/// Call it first thing after unsharing the mount namespace.
pub fn make_everything_slave() -> io::Result<()> {
    Ok(rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
}

/// Takes the mount at `target` away at once, and its file system when the last user has gone.
pub fn detach(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

/// Binds `path` below `root`, found without following any link, to a new file or directory `name` in `directory`,
/// which is made if it does not exist.
pub fn bind_beneath(root: &Path, path: &Path, directory: &Path, name: &str) -> io::Result<()> {
    let root =
        rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let strict = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let found = rustix::fs::openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), strict)?;
    let stat = rustix::fs::fstat(&found)?;
    let target = directory.join(name);
    std::fs::create_dir_all(directory)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => std::fs::create_dir(&target)?,
        _ => drop(std::fs::File::create_new(&target)?),
    }
    let found = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    Ok(rustix::mount::mount_bind_recursive(&found, &target)?)
}

/// An overlay to be mounted.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    /// Read-only layer directories, topmost first; at least one.
    pub lower: &'a [PathBuf],
    /// The writable directory.
    pub upper: &'a Path,
    /// The work directory, on the same file system as `upper`.
    pub work: &'a Path,
}

/// What is changed is wholly in the upper directory, whatever the kernel's own defaults are: a renamed directory, or a
/// file with another mode, that only points to the layers below could not be made a layer of an image.
const WHOLE: [(&str, &str); 2] = [("redirect_dir", "off"), ("metacopy", "off")];

impl Overlay<'_> {
    /// Mounts it at `target`. Layers are given one by one where the kernel can (6.5 and later), and else as one
    /// option, whose length is limited to a page: directories are opened and named by descriptor for that, which
    /// has room for some 200 layers.
    pub fn mount(&self, target: &Path) -> io::Result<()> {
        match self.mount_layer_by_layer(target) {
            // An older kernel does not know `lowerdir+` (EINVAL) or the mount API (ENOSYS); a seccomp filter may
            // answer EPERM for calls that it does not know.
            Err(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => {
                Ok(self.mount_at_once(target)?)
            }
            result => Ok(result?),
        }
    }

    fn mount_layer_by_layer(&self, target: &Path) -> Result<(), Errno> {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "source", "overlay")?;
        // Descriptors that names stand for must stay open until the file system exists.
        let mut held = Vec::new();
        for lower in self.lower {
            rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir+", layer_name(lower, &mut held)?)?;
        }
        rustix::mount::fsconfig_set_string(context.as_fd(), "upperdir", layer_name(self.upper, &mut held)?)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "workdir", layer_name(self.work, &mut held)?)?;
        for (option, value) in WHOLE {
            rustix::mount::fsconfig_set_string(context.as_fd(), option, value)?;
        }
        rustix::mount::fsconfig_create(context.as_fd())?;
        let mount =
            rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        rustix::mount::move_mount(mount.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    }

    fn mount_at_once(&self, target: &Path) -> Result<(), Errno> {
        let mut held = Vec::new();
        let mut options = OsString::from("lowerdir=");
        for (index, lower) in self.lower.iter().enumerate() {
            if index > 0 {
                options.push(":");
            }
            options.push(by_descriptor(lower, &mut held)?);
        }
        options.push(",upperdir=");
        options.push(by_descriptor(self.upper, &mut held)?);
        options.push(",workdir=");
        options.push(by_descriptor(self.work, &mut held)?);
        for (option, value) in WHOLE {
            options.push(format!(",{option}={value}"));
        }
        let options = std::ffi::CString::new(options.into_vec()).map_err(|_nul| Errno::INVAL)?;
        rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str())
    }
}

/// The directory's own name where the mount API takes it as it is, else a name by descriptor: a value may have 255
/// bytes, and overlayfs reads `\`, `:` and `,` in its own way.
fn layer_name(directory: &Path, held: &mut Vec<OwnedFd>) -> Result<OsString, Errno> {
    let bytes = directory.as_os_str().as_bytes();
    if bytes.len() < 256 && !bytes.iter().any(|b| matches!(b, b'\\' | b':' | b',')) {
        return Ok(directory.as_os_str().to_owned());
    }
    by_descriptor(directory, held)
}

fn by_descriptor(directory: &Path, held: &mut Vec<OwnedFd>) -> Result<OsString, Errno> {
    let fd = rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    held.push(fd);
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::namespace::{Namespace, unshare};

    /// Layers with short, long and awkward names, `count` of them, each holding one file.
    fn layers(root: &Path, count: usize) -> Vec<PathBuf> {
        (0..count)
            .map(|n| {
                let name = match n % 3 {
                    0 => format!("layer{n}"),
                    1 => format!("a:b,c\\d{n}"),
                    _ => format!("{}{n}", "long".repeat(50)),
                };
                let directory = root.join(name);
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join(format!("file{n}")), n.to_string()).unwrap();
                directory
            })
            .collect()
    }

    #[test]
    fn many_layers_mount_either_way() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: mounting needs root");
            return;
        }
        // A mount namespace belongs to a thread, which ends with the test.
        unshare(&[Namespace::Mount]).unwrap();
        make_everything_slave().unwrap();
        let root = tempfile::tempdir().unwrap();
        rustix::mount::mount("tmpfs", root.path(), "tmpfs", MountFlags::empty(), None).unwrap();
        let (upper, work) = (root.path().join("upper:"), root.path().join("work"));
        let target = root.path().join("merged");
        for directory in [&upper, &work, &target] {
            fs::create_dir(directory).unwrap();
        }
        let lower = layers(root.path(), 127);
        let overlay = Overlay { lower: &lower, upper: &upper, work: &work };
        for way in [Overlay::mount_at_once, Overlay::mount_layer_by_layer] {
            match way(&overlay, &target) {
                Err(Errno::INVAL | Errno::NOSYS) => println!("skipped one way: this kernel lacks it"),
                result => {
                    result.unwrap();
                    for n in 0..127 {
                        assert_eq!(
                            fs::read_to_string(target.join(format!("file{n}"))).unwrap(),
                            n.to_string()
                        );
                    }
                    fs::write(target.join("file0"), "changed").unwrap();
                    assert_eq!(fs::read_to_string(upper.join("file0")).unwrap(), "changed");
                    fs::remove_file(upper.join("file0")).unwrap();
                    detach(&target).unwrap();
                }
            }
        }
        overlay.mount(&target).unwrap();
        detach(&target).unwrap();
        detach(root.path()).unwrap();
    }
}
