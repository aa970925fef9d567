//! The files that the guest's kernel knows. Each has a number, which is never given twice, and a descriptor that stands
//! for it, so that it stays the same file whatever becomes of its names.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

use crate::abi::ROOT;

/// What tells files apart. The mount belongs to it: the same file may be shared twice, once for reading only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    mount: u64,
}

/// One file.
#[derive(Debug)]
struct Node {
    fd: OwnedFd,
    key: Key,
    kind: FileType,
    /// How often the kernel was told its number.
    lookups: u64,
}

/// All of them.
#[derive(Debug)]
pub struct Nodes {
    nodes: HashMap<u64, Node>,
    by_key: HashMap<Key, u64>,
    next: u64,
    /// Devices in the order in which they were met; the root's stands for itself.
    devices: Vec<u64>,
    root_device: u64,
}

impl Nodes {
    /// With the root.
    pub fn new(root: OwnedFd) -> Result<Self, Errno> {
        let stat = stat(&root)?;
        if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
            // Without the number of its mount a read-only share could not be told from another of the same files.
            return Err(Errno::NOSYS);
        }
        let key = key(&stat);
        let node = Node { fd: root, key, kind: kind(&stat), lookups: u64::MAX };
        Ok(Self {
            nodes: HashMap::from([(ROOT, node)]),
            by_key: HashMap::from([(key, ROOT)]),
            next: ROOT + 1,
            devices: Vec::new(),
            root_device: key.device,
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node's descriptor, which stands for the file (`O_PATH`).
    pub fn fd(&self, id: u64) -> Result<BorrowedFd<'_>, Errno> {
        self.nodes.get(&id).map(|node| node.fd.as_fd()).ok_or(Errno::STALE)
    }

    /// What kind of file a node is.
    pub fn kind(&self, id: u64) -> Result<FileType, Errno> {
        self.nodes.get(&id).map(|node| node.kind).ok_or(Errno::STALE)
    }

    /// Takes in a file that the kernel is told of; its number and attributes.
    pub fn insert(&mut self, fd: OwnedFd) -> Result<(u64, Statx), Errno> {
        let stat = stat(&fd)?;
        let key = key(&stat);
        let id = *self.by_key.entry(key).or_insert(self.next);
        if id == self.next {
            self.next += 1;
        }
        let node = self.nodes.entry(id).or_insert_with(|| Node { fd, key, kind: kind(&stat), lookups: 0 });
        node.lookups = node.lookups.saturating_add(1);
        Ok((id, stat))
    }

    /// The kernel forgets that it was told a number so often.
    pub fn forget(&mut self, id: u64, count: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if id == ROOT {
            return;
        }
        node.lookups = node.lookups.saturating_sub(count);
        if node.lookups == 0
            && let Some(node) = self.nodes.remove(&id)
        {
            self.by_key.remove(&node.key);
        }
    }

    /// The inode number that the guest sees. There all shares are one file system: what is on another device than the
    /// first gets a number that no file of the first has.
    pub fn inode(&mut self, device: u64, inode: u64) -> u64 {
        let index = match self.devices.iter().position(|known| *known == device) {
            _ if device == self.root_device => 0x7fff,
            Some(index) => index,
            None => {
                self.devices.push(device);
                self.devices.len() - 1
            }
        };
        inode ^ (u64::try_from(index).unwrap_or(0) << 48)
    }
}

/// A file's attributes.
pub fn stat(fd: impl AsFd) -> Result<Statx, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted)
}

/// The device that a file is on.
pub fn device(stat: &Statx) -> u64 {
    rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

/// What kind of file it is.
pub fn kind(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

fn key(stat: &Statx) -> Key {
    Key { device: device(stat), inode: stat.stx_ino, mount: stat.stx_mnt_id }
}

/// Opens a name below a directory's descriptor, whatever it is, as something that stands for it.
pub fn open(directory: impl AsFd, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}
