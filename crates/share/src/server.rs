//! The server's state, and which request is answered where.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::OwnFiles;
use crate::abi::{self, init, op};
use crate::locks::Locks;
use crate::message::{self, Fields, Header, Replies};
use crate::nodes::Nodes;

/// The most descriptors that a guest can make this process hold, whatever the process's own limit is.
const MAX_DESCRIPTORS: usize = 1 << 16;
/// Descriptors that are left to this process itself, and to requests while they are answered.
const RESERVED: usize = 32;

/// The guest sent something that is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the guest sent something that is not a FUSE request")
    }
}

impl std::error::Error for Broken {}

/// A guest's files, as far as it knows them.
#[derive(Debug)]
pub struct Server {
    pub(crate) nodes: Nodes,
    pub(crate) handles: Handles,
    pub(crate) locks: Locks,
    pub(crate) features: u64,
    limit: usize,
}

impl Server {
    /// Serves what is below `root`, a descriptor of a directory. This process's working directory becomes another.
    pub fn new(root: OwnedFd, own: &OwnFiles) -> Result<Self, Errno> {
        own.enter()?;
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(MAX_DESCRIPTORS);
        Ok(Self {
            nodes: Nodes::new(root)?,
            handles: Handles::default(),
            locks: Locks::default(),
            features: 0,
            limit: most.min(MAX_DESCRIPTORS).saturating_sub(RESERVED),
        })
    }

    /// Answers one request, at once or, if it is for a lock that another has, later ([`Server::retry_locks`]).
    pub(crate) fn handle(&mut self, message: &[u8], replies: &mut Replies) -> Result<(), Broken> {
        let (header, mut fields) = message::parse(message).ok_or(Broken)?;
        let fields = &mut fields;
        match header.op {
            // These are never answered.
            op::FORGET => drop(self.forget(&header, fields)),
            op::BATCH_FORGET => drop(self.forget_batch(fields)),
            op::INTERRUPT => drop(self.interrupt(fields, replies)),
            op::SETLK | op::SETLKW => self.set_lock(&header, fields, replies),
            _ => replies.reply(header.unique, |reply| self.answer(&header, fields, reply)),
        }
        Ok(())
    }

    fn answer(&mut self, header: &Header, fields: &mut Fields<'_>, reply: &mut Replies) -> Result<(), Errno> {
        match header.op {
            op::INIT => self.init(fields, reply),
            op::LOOKUP => self.lookup(header, fields, reply),
            op::GETATTR => self.get_attributes(header, reply),
            op::SETATTR => self.set_attributes(header, fields, reply),
            op::STATFS => self.statfs(header, reply),
            op::READLINK => self.read_link(header, reply),
            op::SYMLINK => self.symlink(header, fields, reply),
            op::MKNOD => self.mknod(header, fields, reply),
            op::MKDIR => self.mkdir(header, fields, reply),
            op::UNLINK => self.unlink(header, fields, rustix::fs::AtFlags::empty()),
            op::RMDIR => self.unlink(header, fields, rustix::fs::AtFlags::REMOVEDIR),
            op::RENAME | op::RENAME2 => self.rename(header, fields),
            op::LINK => self.link(header, fields, reply),
            op::CREATE => self.create(header, fields, reply),
            op::TMPFILE => self.create_unnamed(header, fields, reply),
            op::OPEN | op::OPENDIR => self.open(header, fields, reply),
            op::READ => self.read(fields, reply),
            op::WRITE => self.write(fields, reply),
            op::FLUSH => self.flush(header, fields),
            op::FSYNC | op::FSYNCDIR => self.sync(fields),
            op::RELEASE | op::RELEASEDIR => self.release(fields),
            op::FALLOCATE => self.allocate(fields),
            op::LSEEK => self.seek(fields, reply),
            op::COPY_FILE_RANGE => self.copy(fields, reply),
            op::READDIR => self.read_directory(header, fields, reply),
            op::SETXATTR => self.set_xattr(header, fields),
            op::GETXATTR => self.get_xattr(header, fields, reply),
            op::LISTXATTR => self.list_xattrs(header, fields, reply),
            op::REMOVEXATTR => self.remove_xattr(header, fields),
            op::GETLK => self.get_lock(header, fields, reply),
            op::IOCTL => Err(Errno::NOTTY),
            op::DESTROY => Ok(()),
            // The kernel does without it from then on.
            _ => Err(Errno::NOSYS),
        }
    }

    /// Agrees on what both can do.
    fn init(&mut self, fields: &mut Fields<'_>, reply: &mut Replies) -> Result<(), Errno> {
        const WANTED: u64 = init::ASYNC_READ
            | init::POSIX_LOCKS
            | init::ATOMIC_O_TRUNC
            | init::BIG_WRITES
            | init::DONT_MASK
            | init::FLOCK_LOCKS
            | init::AUTO_INVAL_DATA
            | init::PARALLEL_DIROPS
            | init::POSIX_ACL
            | init::MAX_PAGES
            | init::HANDLE_KILLPRIV_V2
            | init::SETXATTR_EXT
            | init::INIT_EXT
            | init::DIRECT_IO_ALLOW_MMAP;
        if fields.u32()? != abi::MAJOR {
            return Err(Errno::PROTO);
        }
        let _minor = fields.u32()?;
        let read_ahead = fields.u32()?;
        let low = u64::from(fields.u32()?);
        let high = if low & init::INIT_EXT == 0 { 0 } else { u64::from(fields.u32()?) };
        self.features = (low | high << 32) & WANTED;
        let halves = self.features.to_le_bytes();
        let half =
            |at: usize| u32::from_le_bytes([halves[at], halves[at + 1], halves[at + 2], halves[at + 3]]);
        reply.u32(abi::MAJOR);
        reply.u32(abi::MINOR);
        reply.u32(read_ahead);
        reply.u32(half(0));
        // Requests that nobody waits for, and how many of them are many.
        reply.u16(64);
        reply.u16(48);
        reply.u32(abi::MAX_TRANSFER);
        // Times are as fine as they come.
        reply.u32(1);
        reply.u16(u16::try_from(abi::MAX_TRANSFER / 4096).unwrap_or(u16::MAX));
        reply.u16(0);
        reply.u32(half(4));
        (0..7).for_each(|_| reply.u32(0));
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn limit_to(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(crate) fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// Whether the guest may make this process hold another descriptor.
    pub(crate) fn room(&self) -> Result<(), Errno> {
        let held = self.nodes.len() + self.handles.table.len() + self.locks.len();
        if held < self.limit { Ok(()) } else { Err(Errno::NFILE) }
    }

    fn forget(&mut self, header: &Header, fields: &mut Fields<'_>) -> Result<(), Errno> {
        self.nodes.forget(header.node, fields.u64()?);
        Ok(())
    }

    fn forget_batch(&mut self, fields: &mut Fields<'_>) -> Result<(), Errno> {
        let count = fields.u32()?;
        fields.u32()?;
        for _ in 0..count {
            let (node, count) = (fields.u64()?, fields.u64()?);
            self.nodes.forget(node, count);
        }
        Ok(())
    }
}

/// What the guest has open: files and directories.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    table: HashMap<u64, OwnedFd>,
    last: u64,
}

impl Handles {
    /// Takes one in; its number.
    pub(crate) fn insert(&mut self, fd: OwnedFd) -> u64 {
        self.last += 1;
        self.table.insert(self.last, fd);
        self.last
    }

    /// One of them.
    pub(crate) fn get(&self, handle: u64) -> Result<BorrowedFd<'_>, Errno> {
        self.table.get(&handle).map(|fd| fd.as_fd()).ok_or(Errno::BADF)
    }

    /// Closes one.
    pub(crate) fn remove(&mut self, handle: u64) {
        self.table.remove(&handle);
    }
}
