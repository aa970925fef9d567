//! From files to tar.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cofferdam_model::ArchiveStat;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, StatxFlags};
use tar::{Builder, EntryType, Header};

use crate::Failure;
use crate::stat::{Named, describe};

/// Reads a file or a directory with everything in it; `begin` gets what the path is before the first byte is written.
pub fn read<W: Write>(
    text: &str,
    out: W,
    begin: impl FnOnce(&mut W, &ArchiveStat) -> io::Result<()>,
) -> Result<(), Failure> {
    let named = Named::look_up(text)?;
    let mut out = out;
    begin(&mut out, &describe(&named)).map_err(Failure::at(&named.path))?;
    let prefix = if named.base == "/" { Vec::new() } else { named.base.clone().into_bytes() };
    let mut tree = Tree { builder: Builder::new(out), linked: HashMap::new(), mount: None };
    let read = if named.metadata.is_dir() {
        tree.directory(CWD, named.path.as_os_str(), prefix, false)
    } else {
        tree.entry(CWD, named.path.as_os_str(), prefix)
    };
    read.and_then(|()| tree.builder.finish()).map_err(Failure::at(&named.path))
}

/// Everything in the root file system; of what is mounted in it only the mount points.
pub fn export<W: Write>(out: W) -> Result<(), Failure> {
    let root = Path::new("/");
    let mount = mount_of(CWD, root.as_os_str()).map_err(Failure::at(root))?;
    let mut tree = Tree { builder: Builder::new(out), linked: HashMap::new(), mount: Some(mount) };
    let open = rustix::fs::openat(CWD, root, DIRECTORY, Mode::empty()).map_err(io::Error::from);
    let read = open.and_then(|open| tree.children(&open, &[]));
    read.and_then(|()| tree.builder.finish()).map_err(Failure::at(root))
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The mount that a name is on.
fn mount_of(directory: impl AsFd, name: &OsStr) -> io::Result<u64> {
    let about = rustix::fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID)?;
    Ok(about.stx_mnt_id)
}

struct Tree<W: Write> {
    builder: Builder<W>,
    /// Files with several names, by device and inode: the first name in the archive.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// The one mount to stay on.
    mount: Option<u64>,
}

impl<W: Write> Tree<W> {
    /// A directory, then everything in it. `name` is its name in the archive.
    fn directory(&mut self, at: impl AsFd, file: &OsStr, name: Vec<u8>, nofollow: bool) -> io::Result<()> {
        let flags = if nofollow { DIRECTORY | OFlags::NOFOLLOW } else { DIRECTORY };
        let open = rustix::fs::openat(at, file, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&open)?;
        let mut shown = name.clone();
        shown.push(b'/');
        let mut header = header(&stat, EntryType::Directory, 0);
        self.append(&mut header, &shown, None, xattrs(&open), io::empty())?;
        self.children(&open, &shown)
    }

    fn children(&mut self, open: &OwnedFd, prefix: &[u8]) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(open)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        for name in names {
            let shown = [prefix, &name].concat();
            match self.entry(open, OsStr::from_bytes(&name), shown) {
                // It was removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, at: impl AsFd, file: &OsStr, name: Vec<u8>) -> io::Result<()> {
        let at = at.as_fd();
        let stat = rustix::fs::statat(at, file, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let foreign = match self.mount {
            Some(mount) => mount_of(at, file)? != mount,
            None => false,
        };
        let identity = (stat.st_dev, stat.st_ino);
        if kind != FileType::Directory && stat.st_nlink > 1 && !foreign {
            if let Some(first) = self.linked.get(&identity).cloned() {
                let mut header = header(&stat, EntryType::Link, 0);
                return self.append(&mut header, &name, Some(&first), Vec::new(), io::empty());
            }
            self.linked.insert(identity, name.clone());
        }
        match kind {
            FileType::Directory if foreign => {
                let mut header = header(&stat, EntryType::Directory, 0);
                self.append(&mut header, &[&name[..], b"/"].concat(), None, Vec::new(), io::empty())
            }
            FileType::Directory => self.directory(at, file, name, true),
            FileType::RegularFile if foreign => {
                let mut header = header(&stat, EntryType::Regular, 0);
                self.append(&mut header, &name, None, Vec::new(), io::empty())
            }
            FileType::RegularFile => self.file(at, file, &name),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(at, file, Vec::new())?;
                let mut header = header(&stat, EntryType::Symlink, 0);
                self.append(&mut header, &name, Some(target.as_bytes()), Vec::new(), io::empty())
            }
            FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
                let kind = match kind {
                    FileType::Fifo => EntryType::Fifo,
                    FileType::BlockDevice => EntryType::Block,
                    _ => EntryType::Char,
                };
                let mut header = header(&stat, kind, 0);
                if kind != EntryType::Fifo {
                    header.set_device_major(rustix::fs::major(stat.st_rdev))?;
                    header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
                }
                self.append(&mut header, &name, None, Vec::new(), io::empty())
            }
            // A socket is dead in a copy.
            _ => Ok(()),
        }
    }

    /// Exactly as many bytes as the header says, whatever happens to the file meanwhile.
    fn file(&mut self, at: impl AsFd, file: &OsStr, name: &[u8]) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = rustix::fs::openat(at, file, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&open)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut header = header(&stat, EntryType::Regular, size);
        let xattrs = xattrs(&open);
        let content = File::from(open).chain(io::repeat(0)).take(size);
        self.append(&mut header, name, None, xattrs, content)
    }

    fn append(
        &mut self,
        header: &mut Header,
        name: &[u8],
        link: Option<&[u8]>,
        pax: Vec<(String, Vec<u8>)>,
        content: impl io::Read,
    ) -> io::Result<()> {
        append(&mut self.builder, header, name, link, pax, content)
    }
}

/// Writes one entry; what the header has no room for goes into PAX records before it.
pub(crate) fn append<W: Write>(
    builder: &mut Builder<W>,
    header: &mut Header,
    name: &[u8],
    link: Option<&[u8]>,
    mut pax: Vec<(String, Vec<u8>)>,
    content: impl io::Read,
) -> io::Result<()> {
    {
        let old = header.as_gnu_mut().ok_or_else(|| io::Error::other("header"))?;
        if fits(name, old.name.len()) {
            old.name[..name.len()].copy_from_slice(name);
        } else {
            pax.push(("path".to_owned(), name.to_owned()));
        }
        if let Some(link) = link {
            if fits(link, old.linkname.len()) {
                old.linkname[..link.len()].copy_from_slice(link);
            } else {
                pax.push(("linkpath".to_owned(), link.to_owned()));
            }
        }
    }
    if !pax.is_empty() {
        let records = pax.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        builder.append_pax_extensions(records)?;
    }
    header.set_cksum();
    builder.append(header, content)
}

fn fits(text: &[u8], room: usize) -> bool {
    text.len() <= room && text.is_ascii()
}

pub(crate) fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header
}

/// What tar carries of the extended attributes: the user's, and files' capabilities.
fn xattrs(file: &OwnedFd) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 64 << 10];
    let Ok(length) = rustix::fs::flistxattr(file, &mut names[..]) else { return Vec::new() };
    let names = names[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let carried = names.filter(|name| name.starts_with("user.") || *name == "security.capability");
    carried
        .filter_map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::fgetxattr(file, name, &mut value[..]).ok()?;
            value.truncate(length);
            Some((format!("SCHILY.xattr.{name}"), value))
        })
        .collect()
}
