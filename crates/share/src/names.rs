//! Names in directories: looked up, made, changed, removed.

use std::os::fd::OwnedFd;

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::abi::op;
use crate::message::{Fields, Header, Replies};
use crate::nodes;
use crate::own::reopen;
use crate::server::Server;

/// This thread while it makes a file for a user of the guest's: the kernel gives the file its owner, its group (the
/// directory's, where that is set-group-ID) and its mode (by the directory's ACL, else by the mask).
struct For {
    mask: Mode,
}

impl For {
    fn user(header: &Header, mask: u32) -> Self {
        setfsgid(Gid::from_raw(header.gid));
        setfsuid(Uid::from_raw(header.uid));
        Self { mask: rustix::process::umask(Mode::from_raw_mode(mask & 0o777)) }
    }
}

impl Drop for For {
    fn drop(&mut self) {
        rustix::process::umask(self.mask);
        setfsuid(nix::unistd::geteuid());
        setfsgid(nix::unistd::getegid());
    }
}

impl Server {
    pub(crate) fn lookup(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        self.room()?;
        let fd = nodes::open(self.nodes.fd(header.node)?, fields.name()?)?;
        self.entry(fd, reply)
    }

    pub(crate) fn read_link(&mut self, header: &Header, reply: &mut Replies) -> Result<(), Errno> {
        let target = rustix::fs::readlinkat(self.nodes.fd(header.node)?, c"", Vec::new())?;
        reply.0.extend(target.as_bytes());
        Ok(())
    }

    pub(crate) fn symlink(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (name, target) = (fields.name()?, fields.text()?);
        self.room()?;
        let parent = self.nodes.fd(header.node)?;
        let user = For::user(header, 0);
        rustix::fs::symlinkat(target, parent, name)?;
        drop(user);
        let fd = nodes::open(parent, name)?;
        self.entry(fd, reply)
    }

    /// Pipes, sockets and plain files. A device node is never made: what a guest makes must not be a device on the host.
    pub(crate) fn mknod(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (mode, _device, mask, _) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let name = fields.name()?;
        let kind = FileType::from_raw_mode(mode);
        if !matches!(kind, FileType::Fifo | FileType::Socket | FileType::RegularFile) {
            return Err(Errno::PERM);
        }
        self.room()?;
        let parent = self.nodes.fd(header.node)?;
        let user = For::user(header, mask);
        rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(mode & 0o7777), 0)?;
        drop(user);
        let fd = nodes::open(parent, name)?;
        self.entry(fd, reply)
    }

    pub(crate) fn mkdir(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (mode, mask, name) = (fields.u32()?, fields.u32()?, fields.name()?);
        self.room()?;
        let parent = self.nodes.fd(header.node)?;
        let user = For::user(header, mask);
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode & 0o7777))?;
        drop(user);
        let fd = nodes::open(parent, name)?;
        self.entry(fd, reply)
    }

    pub(crate) fn unlink(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        flags: AtFlags,
    ) -> Result<(), Errno> {
        rustix::fs::unlinkat(self.nodes.fd(header.node)?, fields.name()?, flags)
    }

    pub(crate) fn rename(&mut self, header: &Header, fields: &mut Fields<'_>) -> Result<(), Errno> {
        let to = fields.u64()?;
        let mut flags = RenameFlags::empty();
        if header.op == op::RENAME2 {
            flags = RenameFlags::from_bits(fields.u32()?).ok_or(Errno::INVAL)?;
            fields.u32()?;
        }
        // A whiteout is a device node.
        if !(RenameFlags::NOREPLACE | RenameFlags::EXCHANGE).contains(flags) {
            return Err(Errno::INVAL);
        }
        let (old, new) = (fields.name()?, fields.name()?);
        rustix::fs::renameat_with(self.nodes.fd(header.node)?, old, self.nodes.fd(to)?, new, flags)
    }

    pub(crate) fn link(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (id, name) = (fields.u64()?, fields.name()?);
        let file = self.nodes.fd(id)?;
        rustix::fs::linkat(file, c"", self.nodes.fd(header.node)?, name, AtFlags::EMPTY_PATH)?;
        let same = file.try_clone_to_owned().map_err(|_full| Errno::NFILE)?;
        self.entry(same, reply)
    }

    /// Makes a plain file and opens it, or opens the one that is there.
    pub(crate) fn create(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (flags, mode, mask, kill) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let name = fields.name()?;
        self.room()?;
        let parent = self.nodes.fd(header.node)?;
        let asked = OFlags::from_bits_retain(flags);
        let new = crate::files::allowed(asked) | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let user = For::user(header, mask);
        let made = rustix::fs::openat(parent, name, new, Mode::from_raw_mode(mode & 0o7777));
        drop(user);
        match made {
            Ok(fd) => self.created(fd, reply),
            Err(Errno::EXIST) if !asked.contains(OFlags::EXCL) => {
                let (id, _) = self.nodes.insert(nodes::open(parent, name)?)?;
                let opened = self.open_node(id, asked, kill);
                let again = self.nodes.fd(id).and_then(|fd| reopen(fd, OFlags::PATH));
                // The entry counts as known once more.
                self.nodes.forget(id, 1);
                let (fd, again) = (opened?, again?);
                self.entry(again, reply)?;
                self.opened(fd, reply);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a plain file without a name.
    pub(crate) fn create_unnamed(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (flags, mode, mask, _) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        self.room()?;
        let asked = OFlags::from_bits_retain(flags);
        let new = crate::files::allowed(asked) | OFlags::TMPFILE | (asked & OFlags::EXCL);
        let user = For::user(header, mask);
        let made =
            rustix::fs::openat(self.nodes.fd(header.node)?, c".", new, Mode::from_raw_mode(mode & 0o7777));
        drop(user);
        self.created(made?, reply)
    }

    fn created(&mut self, fd: OwnedFd, reply: &mut Replies) -> Result<(), Errno> {
        // By the descriptor: its name may mean another file by now.
        self.entry(reopen(&fd, OFlags::PATH)?, reply)?;
        self.opened(fd, reply);
        Ok(())
    }
}
