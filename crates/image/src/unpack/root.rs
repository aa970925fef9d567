//! The layer's directory: every file system operation of unpacking, confined below it.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::Error;
use crate::archive::Entry;
use crate::error::IoContext;

use super::limits::MAX_DEPTH;

/// A file's metadata.
pub(super) struct Meta<'a> {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    pub mtime: (i64, u32),
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Meta<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        Self { uid: entry.uid, gid: entry.gid, mode: entry.mode, mtime: entry.mtime, xattrs: &entry.xattrs }
    }
}

/// The directory that a layer is unpacked into.
pub(super) struct Root {
    top: Arc<OwnedFd>,
    path: PathBuf,
    /// Whether we may give files away. Without (unit tests, fuzzing) owners are left as they are.
    privileged: bool,
    /// The directory of the last entry: archives list a directory's files one after the other.
    last: Option<(Vec<u8>, Arc<OwnedFd>)>,
}

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let path = path.canonicalize().at(path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let top = rustix::fs::openat(CWD, &path, flags, Mode::empty()).at(&path)?;
        let privileged = rustix::process::geteuid().is_root();
        Ok(Self { top: Arc::new(top), path, privileged, last: None })
    }

    /// The directory itself.
    pub(super) fn top(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.top)
    }

    /// The directory named by `parts`, made where it is missing; what was made is added to `implied`.
    pub(super) fn parent(
        &mut self,
        parts: &[&[u8]],
        implied: &mut Vec<Vec<u8>>,
    ) -> Result<Arc<OwnedFd>, Error> {
        let Some((&name, above)) = parts.split_last() else { return Ok(self.top()) };
        let path = parts.join(&b'/');
        if let Some((last, fd)) = &self.last
            && *last == path
        {
            return Ok(Arc::clone(fd));
        }
        let fd = match self.resolve(&path) {
            Err(Errno::NOENT) => {
                let above = self.parent(above, implied)?;
                match rustix::fs::mkdirat(&*above, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => {
                        rustix::fs::chmodat(&*above, name, Mode::from_raw_mode(0o755), AtFlags::empty())
                            .map_err(|error| self.error(error, &path))?;
                        implied.push(path.clone());
                    }
                    // A symlink that leads nowhere.
                    Err(Errno::EXIST) => return Err(Error::entry(&path, "not a directory")),
                    Err(error) => return Err(self.error(error, &path)),
                }
                self.resolve(&path)
            }
            resolved => resolved,
        };
        let fd = fd.map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP => Error::entry(&path, "not a directory"),
            Errno::XDEV => Error::entry(&path, "leads out of the layer"),
            Errno::MLINK => Error::entry(&path, "path is too deep"),
            error => self.error(error, &path),
        })?;
        let fd = Arc::new(fd);
        self.last = Some((path, Arc::clone(&fd)));
        Ok(fd)
    }

    /// Opens a directory below the root. Symlinks are followed as a process whose root this is would.
    fn resolve(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let confined = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let open = |resolve| {
            // EAGAIN: some rename happened on the host in the meantime and the kernel cannot vouch for "..".
            for _ in 0..100 {
                match rustix::fs::openat2(&*self.top, path, flags, Mode::empty(), resolve) {
                    Err(Errno::AGAIN) => {}
                    result => return result,
                }
            }
            Err(Errno::AGAIN)
        };
        match open(confined | ResolveFlags::NO_SYMLINKS) {
            Err(Errno::LOOP) => {}
            result => return result,
        }
        // Through symlinks a short path may lead deep; the kernel tells where it led.
        let fd = open(confined)?;
        let place = rustix::fs::readlinkat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
        let place = Path::new(std::ffi::OsStr::from_bytes(place.as_bytes()));
        let below = place.strip_prefix(&self.path).map_err(|_outside| Errno::XDEV)?;
        if below.components().count() >= MAX_DEPTH {
            return Err(Errno::MLINK);
        }
        Ok(fd)
    }

    /// Creates a regular file, in place of whatever has its name.
    pub(super) fn create_file(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600));
        let fd = match create() {
            Err(Errno::EXIST) => {
                self.clear(parent, name)?;
                create()
            }
            created => created,
        };
        Ok(File::from(fd.map_err(|error| self.error(error, name))?))
    }

    /// Creates a directory, or keeps the one that is there. One that takes the place of something which hides a
    /// lower layer's directory must go on hiding it: it is made opaque.
    pub(super) fn create_directory(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<(), Error> {
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {}
            result => return result.map_err(|error| self.error(error, name)),
        }
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.error(error, name))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(());
        }
        self.clear(parent, name)?;
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))
            .map_err(|error| self.error(error, name))?;
        if is_whiteout(&stat) {
            let child = self.child(parent, name)?;
            self.make_opaque(&child)?;
        }
        Ok(())
    }

    /// Creates a symlink, in place of whatever has its name.
    pub(super) fn create_symlink(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        target: &[u8],
    ) -> Result<(), Error> {
        self.clear(parent, name)?;
        rustix::fs::symlinkat(target, parent, name).map_err(|error| self.error(error, name))
    }

    /// Creates a device node or FIFO, in place of whatever has its name.
    pub(super) fn create_device(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        kind: FileType,
        major: u32,
        minor: u32,
    ) -> Result<(), Error> {
        self.clear(parent, name)?;
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)
            .map_err(|error| self.error(error, name))
    }

    /// Creates a hard link to a file of this layer. A leading slash in its target means the layer's root, as in
    /// Docker; a symlink is linked itself, not what it leads to.
    pub(super) fn link(&mut self, parent: &OwnedFd, name: &[u8], target: &[&[u8]]) -> Result<(), Error> {
        let Some((&file, above)) = target.split_last() else {
            return Err(Error::entry(name, "hard link to the root"));
        };
        let missing =
            || Error::entry(name, format!("hard link target {:?} is not in the layer", lossy(target)));
        let from = match above {
            [] => self.top(),
            above => Arc::new(self.resolve(&above.join(&b'/')).map_err(|_unresolved| missing())?),
        };
        let stat =
            rustix::fs::statat(&*from, file, AtFlags::SYMLINK_NOFOLLOW).map_err(|_unresolved| missing())?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Error::entry(name, "hard link to a directory"));
        }
        self.clear(parent, name)?;
        rustix::fs::linkat(&*from, file, parent, name, AtFlags::empty()).map_err(|error| match error {
            Errno::NOENT => missing(),
            error => self.error(error, name),
        })
    }

    /// Hides `name` of the layers below. What this layer itself has by that name stays, but no longer lets lower
    /// layers show through.
    pub(super) fn whiteout(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<(), Error> {
        match rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| self.error(error, name))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    let child = self.child(parent, name)?;
                    self.make_opaque(&child)?;
                }
                Ok(())
            }
            result => result.map_err(|error| self.error(error, name)),
        }
    }

    /// Hides everything that lower layers have in this directory.
    pub(super) fn make_opaque(&self, directory: &OwnedFd) -> Result<(), Error> {
        // Unprivileged overlays (user namespaces) read the same from the user name space.
        let name = if self.privileged { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        let path = proc_path(directory, b".");
        rustix::fs::lsetxattr(path.as_slice(), name, b"y", XattrFlags::empty())
            .map_err(|error| self.error(error, b"."))
    }

    /// Gives a regular file its metadata: owner first, because giving a file away clears set-user-ID and file
    /// capabilities.
    pub(super) fn dress_file(
        &self,
        file: &File,
        parent: &OwnedFd,
        name: &[u8],
        meta: &Meta<'_>,
    ) -> Result<(), Error> {
        let error = |error: Errno| self.error(error, name);
        if self.privileged && (meta.uid, meta.gid) != (0, 0) {
            rustix::fs::fchown(file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
                .map_err(error)?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(meta.mode)).map_err(error)?;
        self.set_xattrs(parent, name, meta)?;
        rustix::fs::futimens(file, &times(meta.mtime)).map_err(error)
    }

    /// Gives anything else its metadata, without following a symlink or opening a device.
    pub(super) fn dress(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        meta: &Meta<'_>,
        symlink: bool,
    ) -> Result<(), Error> {
        let error = |error: Errno| self.error(error, name);
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if self.privileged {
            let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), nofollow).map_err(error)?;
        }
        if !symlink {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(meta.mode), AtFlags::empty())
                .map_err(error)?;
        }
        self.set_xattrs(parent, name, meta)?;
        rustix::fs::utimensat(parent, name, &times(meta.mtime), nofollow).map_err(error)
    }

    fn set_xattrs(&self, parent: &OwnedFd, name: &[u8], meta: &Meta<'_>) -> Result<(), Error> {
        for (key, value) in meta.xattrs {
            if key.starts_with(b"trusted.overlay.") || key.starts_with(b"user.overlay.") {
                continue;
            }
            match rustix::fs::lsetxattr(
                proc_path(parent, name).as_slice(),
                key.as_slice(),
                value,
                XattrFlags::empty(),
            ) {
                Ok(()) => {}
                // The file system has none of this kind, or the kernel forbids it for this kind of file.
                Err(Errno::NOTSUP) => {}
                Err(Errno::PERM) if key.starts_with(b"user.") || !self.privileged => {}
                Err(error) => return Err(self.error(error, name)),
            }
        }
        Ok(())
    }

    /// Sets a listed directory's time at the very end; one that has been replaced since is passed over.
    pub(super) fn set_directory_time(&self, path: &[u8], mtime: (i64, u32)) -> Result<(), Error> {
        let directory = match path {
            [] => self.top(),
            path => match self.resolve(path) {
                Ok(fd) => Arc::new(fd),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                Err(error) => return Err(self.error(error, path)),
            },
        };
        rustix::fs::utimensat(&*directory, ".", &times(mtime), AtFlags::empty())
            .map_err(|error| self.error(error, path))
    }

    /// Removes whatever has this name.
    fn clear(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<(), Error> {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR) => remove_tree(parent, name).map_err(|error| self.error(error, name))?,
            Err(error) => return Err(self.error(error, name)),
        }
        // The remembered directory may be gone, or be reached by another way now.
        self.last = None;
        Ok(())
    }

    fn child(&self, parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(|error| self.error(error, name))
    }

    fn error(&self, error: Errno, name: &[u8]) -> Error {
        Error::io(&self.path.join(std::ffi::OsStr::from_bytes(name)), error.into())
    }

    /// Gives an error from writing data the file's name.
    pub(super) fn name_error(&self, error: Error, _parent: &OwnedFd, name: &[u8]) -> Error {
        let path = self.path.join(std::ffi::OsStr::from_bytes(name));
        match error {
            Error::Io { source, .. } => Error::io(&path, source),
            Error::NoSpace(_) => Error::NoSpace(self.path.clone()),
            other => other,
        }
    }
}

/// A path for calls that take no directory descriptor: its last component is not followed by `l…` calls.
fn proc_path(directory: &OwnedFd, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", directory.as_raw_fd()).as_bytes(), name].concat()
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let stamp = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: stamp, last_modification: stamp }
}

fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn lossy(parts: &[&[u8]]) -> String {
    String::from_utf8_lossy(&parts.join(&b'/')).into_owned()
}

/// Removes a directory tree without following anything. Its depth is bounded by [`MAX_DEPTH`].
fn remove_tree(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let child = entry.file_name().to_bytes();
        if matches!(child, b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(&directory, child, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_tree(&directory, child)?,
            result => result?,
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
