//! Open files.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::fs::{FallocateFlags, FileType, OFlags, SeekFrom};
use rustix::io::{Errno, ReadWriteFlags};

use crate::abi::{self, init, op};
use crate::attributes::kill_set_ids;
use crate::message::{Fields, Header, Replies};
use crate::own::reopen;
use crate::server::Server;

/// The most that is copied before the next request is looked at; the guest asks for the rest again.
const MAX_COPY: u64 = 16 << 20;

/// What of a guest's flags the host's kernel is told. Appending is told with each write (`fcntl` may change it), and
/// what is read and written directly would have to lie in memory as the disk wants it.
pub fn allowed(asked: OFlags) -> OFlags {
    let passed = OFlags::RWMODE | OFlags::TRUNC | OFlags::SYNC | OFlags::DSYNC | OFlags::NOATIME;
    (asked & passed) | OFlags::CLOEXEC
}

impl Server {
    pub(crate) fn open(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (flags, kill) = (fields.u32()?, fields.u32()?);
        let asked = OFlags::from_bits_retain(flags);
        self.room()?;
        if header.op == op::OPENDIR {
            let fd = reopen(self.nodes.fd(header.node)?, OFlags::RDONLY | OFlags::DIRECTORY)?;
            reply.u64(self.handles.insert(fd));
            reply.u64(0);
            return Ok(());
        }
        let fd = self.open_node(header.node, asked, kill)?;
        self.opened(fd, reply);
        Ok(())
    }

    /// Opens a plain file. Opening another kind could wait for somebody, or be a device; the guest's kernel opens
    /// those itself.
    pub(crate) fn open_node(&self, id: u64, asked: OFlags, kill: u32) -> Result<OwnedFd, Errno> {
        match self.nodes.kind(id)? {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Errno::ISDIR),
            FileType::Symlink => return Err(Errno::LOOP),
            _ => return Err(Errno::NXIO),
        }
        let fd = reopen(self.nodes.fd(id)?, allowed(asked))?;
        if kill & abi::OPEN_KILL_SUIDGID != 0 {
            kill_set_ids(&fd)?;
        }
        Ok(fd)
    }

    /// Takes an open file in. The kernel reads and writes it here each time, as others do so at the same time, if it
    /// can map a file nevertheless (from Linux 6.6 on); else it asks for the attributes before it believes its cache.
    pub(crate) fn opened(&mut self, fd: OwnedFd, reply: &mut Replies) {
        reply.u64(self.handles.insert(fd));
        reply.u32(if self.has(init::DIRECT_IO_ALLOW_MMAP) { abi::OPENED_DIRECT_IO } else { 0 });
        reply.u32(0);
    }

    pub(crate) fn read(&mut self, fields: &mut Fields<'_>, reply: &mut Replies) -> Result<(), Errno> {
        let (handle, offset, size) = (fields.u64()?, fields.u64()?, fields.u32()?);
        if size > abi::MAX_TRANSFER {
            return Err(Errno::INVAL);
        }
        let fd = self.handles.get(handle)?;
        reply.fill(usize::try_from(size).unwrap_or(0), |buffer| rustix::io::pread(fd, buffer, offset))
    }

    pub(crate) fn write(&mut self, fields: &mut Fields<'_>, reply: &mut Replies) -> Result<(), Errno> {
        let (handle, offset, size, how) = (fields.u64()?, fields.u64()?, fields.u32()?, fields.u32()?);
        let (_owner, flags, _) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let data = fields.bytes(size)?;
        let fd = self.handles.get(handle)?;
        if how & abi::WRITE_KILL_SUIDGID != 0 {
            kill_set_ids(fd)?;
        }
        // At the file's end as the host knows it: others append, too. What a mapping has goes where it belongs.
        let append = OFlags::from_bits_retain(flags).contains(OFlags::APPEND);
        let written = if append && how & abi::WRITE_FROM_CACHE == 0 {
            rustix::io::pwritev2(fd, &[IoSlice::new(data)], 0, ReadWriteFlags::APPEND)?
        } else {
            rustix::io::pwrite(fd, data, offset)?
        };
        reply.u32(u32::try_from(written).unwrap_or(u32::MAX));
        reply.u32(0);
        Ok(())
    }

    pub(crate) fn sync(&mut self, fields: &mut Fields<'_>) -> Result<(), Errno> {
        let (handle, flags) = (fields.u64()?, fields.u32()?);
        let fd = self.handles.get(handle)?;
        if flags & abi::FSYNC_DATA != 0 { rustix::fs::fdatasync(fd) } else { rustix::fs::fsync(fd) }
    }

    /// Closed for the last time; what was locked through it is free.
    pub(crate) fn release(&mut self, fields: &mut Fields<'_>) -> Result<(), Errno> {
        let handle = fields.u64()?;
        self.handles.remove(handle);
        self.unlock_closed(handle);
        Ok(())
    }

    pub(crate) fn allocate(&mut self, fields: &mut Fields<'_>) -> Result<(), Errno> {
        let (handle, offset, length, mode) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u32()?);
        let known = FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE;
        let mode = FallocateFlags::from_bits_retain(mode);
        if !known.contains(mode) {
            return Err(Errno::OPNOTSUPP);
        }
        rustix::fs::fallocate(self.handles.get(handle)?, mode, offset, length)
    }

    /// Where data or a hole is next. The kernel knows the other ways to seek.
    pub(crate) fn seek(&mut self, fields: &mut Fields<'_>, reply: &mut Replies) -> Result<(), Errno> {
        let (handle, offset, whence) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let to = match whence.cast_signed() {
            libc::SEEK_DATA => SeekFrom::Data(offset),
            libc::SEEK_HOLE => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        reply.u64(rustix::fs::seek(self.handles.get(handle)?, to)?);
        Ok(())
    }

    pub(crate) fn copy(&mut self, fields: &mut Fields<'_>, reply: &mut Replies) -> Result<(), Errno> {
        let (from, mut from_offset, _node) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (to, mut to_offset, length) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (from, to) = (self.handles.get(from)?, self.handles.get(to)?);
        let length = usize::try_from(length.min(MAX_COPY)).unwrap_or(0);
        let copied =
            rustix::fs::copy_file_range(from, Some(&mut from_offset), to, Some(&mut to_offset), length)?;
        reply.u32(u32::try_from(copied).unwrap_or(u32::MAX));
        reply.u32(0);
        Ok(())
    }
}
