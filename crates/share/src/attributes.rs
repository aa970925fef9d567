//! Attributes of files and of file systems.

use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Statx, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
};
use rustix::io::Errno;

use crate::abi::set;
use crate::message::{Fields, Header, Replies};
use crate::nodes;
use crate::own::{name, reopen};
use crate::server::Server;

/// How long the kernel may take some attributes for true, in nanoseconds: until its clock has ticked, a few milliseconds
/// at most. It is so for those that come with a name, as the `stat` which looked the name up wants no others, and for
/// directories, as they are looked at for each file that is named below them.
const A_TICK: u32 = 1;
/// In what pieces programs should read and write, if they ask: each is a message.
const PIECE: u32 = 64 << 10;

impl Server {
    /// Tells the kernel of a file: its number and attributes. The name is looked up again at each use.
    pub(crate) fn entry(&mut self, fd: std::os::fd::OwnedFd, reply: &mut Replies) -> Result<(), Errno> {
        self.room()?;
        let (id, stat) = self.nodes.insert(fd)?;
        reply.u64(id);
        reply.u64(0);
        reply.u64(0);
        reply.u64(0);
        reply.u32(0);
        reply.u32(A_TICK);
        self.attributes(&stat, reply);
        Ok(())
    }

    /// A file's attributes as the protocol has them.
    fn attributes(&mut self, stat: &Statx, reply: &mut Replies) {
        reply.u64(self.nodes.inode(nodes::device(stat), stat.stx_ino));
        reply.u64(stat.stx_size);
        reply.u64(stat.stx_blocks);
        let times = [stat.stx_atime, stat.stx_mtime, stat.stx_ctime];
        times.iter().for_each(|time| reply.u64(time.tv_sec.cast_unsigned()));
        times.iter().for_each(|time| reply.u32(time.tv_nsec));
        reply.u32(stat.stx_mode.into());
        reply.u32(stat.stx_nlink);
        reply.u32(stat.stx_uid);
        reply.u32(stat.stx_gid);
        let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
        reply.u32((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12));
        reply.u32(stat.stx_blksize.max(PIECE));
        reply.u32(0);
    }

    pub(crate) fn get_attributes(&mut self, header: &Header, reply: &mut Replies) -> Result<(), Errno> {
        let stat = nodes::stat(self.nodes.fd(header.node)?)?;
        reply.u64(0);
        reply.u32(if nodes::kind(&stat) == FileType::Directory { A_TICK } else { 0 });
        reply.u32(0);
        self.attributes(&stat, reply);
        Ok(())
    }

    pub(crate) fn set_attributes(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let valid = fields.u32()?;
        let has = |what: u32| valid & what != 0;
        fields.u32()?;
        let (handle, size, _owner) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (atime, mtime, _ctime) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (atime_nanos, mtime_nanos, _) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (mode, _, uid, gid) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let fd = self.nodes.fd(header.node)?;
        if has(set::MODE) {
            rustix::fs::chmodat(CWD, name(fd), Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?;
        }
        if has(set::UID | set::GID) {
            // -1 is nobody's number: it would mean "as it is" to the host.
            let number = |which, number| match has(which) {
                true if number == u32::MAX => Err(Errno::INVAL),
                wanted => Ok(wanted.then_some(number)),
            };
            let (uid, gid) = (number(set::UID, uid)?, number(set::GID, gid)?);
            rustix::fs::chownat(
                fd,
                c"",
                uid.map(Uid::from_raw),
                gid.map(Gid::from_raw),
                AtFlags::EMPTY_PATH,
            )?;
        }
        if has(set::SIZE) {
            if has(set::HANDLE) {
                truncate(self.handles.get(handle)?, size, has(set::KILL_SUIDGID))?;
            } else {
                truncate(&reopen(fd, OFlags::WRONLY)?, size, has(set::KILL_SUIDGID))?;
            }
        }
        if has(set::ATIME | set::MTIME | set::ATIME_NOW | set::MTIME_NOW) {
            let time = |now, given, seconds: u64, nanos: u32| match () {
                () if has(now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
                () if has(given) => Timespec { tv_sec: seconds.cast_signed(), tv_nsec: nanos.into() },
                () => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            };
            let times = Timestamps {
                last_access: time(set::ATIME_NOW, set::ATIME, atime, atime_nanos),
                last_modification: time(set::MTIME_NOW, set::MTIME, mtime, mtime_nanos),
            };
            rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH)?;
        }
        self.get_attributes(header, reply)
    }

    pub(crate) fn statfs(&mut self, header: &Header, reply: &mut Replies) -> Result<(), Errno> {
        let system = rustix::fs::fstatvfs(self.nodes.fd(header.node)?)?;
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        for number in [system.f_blocks, system.f_bfree, system.f_bavail, system.f_files, system.f_ffree] {
            reply.u64(number);
        }
        reply.u32(small(system.f_bsize));
        reply.u32(small(system.f_namemax));
        reply.u32(small(system.f_frsize));
        (0..7).for_each(|_| reply.u32(0));
        Ok(())
    }
}

fn truncate(fd: impl AsFd, size: u64, kill: bool) -> Result<(), Errno> {
    if kill {
        kill_set_ids(&fd)?;
    }
    rustix::fs::ftruncate(fd, size)
}

/// Takes the set-user-ID and set-group-ID bits away, as the kernel does when somebody without power over them writes:
/// the guest's kernel knows who writes, the host's only knows this process.
pub fn kill_set_ids(fd: impl AsFd) -> Result<(), Errno> {
    let mode = nodes::stat(&fd)?.stx_mode;
    // Without the right to execute, the set-group-ID bit once meant something else.
    let taken = (mode & 0o4000) | if mode & 0o2010 == 0o2010 { 0o2000 } else { 0 };
    if taken == 0 {
        return Ok(());
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(u32::from(mode & 0o7777 & !taken)))
}
