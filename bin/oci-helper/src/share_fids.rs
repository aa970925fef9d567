//! What the `p9` crate's server lacks: the owner of new files, symbolic links, pipes and sockets.
//!
//! The server is a box that answers whole messages, so this looks at each message on its way there. It remembers for
//! each fid the user that attached it and, for directories, the directory itself; new files are then created under
//! that user and the group that the message names, and `Tsymlink` and `Tmknod`, which the server refuses, are
//! answered here. A device node is never made: what a guest makes must not be a device on the host.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

const TVERSION: u8 = 100;
const TATTACH: u8 = 104;
const TWALK: u8 = 110;
const TCLUNK: u8 = 120;
const TREMOVE: u8 = 122;
const TLCREATE: u8 = 14;
const TSYMLINK: u8 = 16;
const TMKNOD: u8 = 18;
const TMKDIR: u8 = 72;
const RLERROR: u8 = 7;

/// What is to become of a message.
pub enum Reply {
    /// Answered here.
    Own(Vec<u8>),
    /// The server answers it, acting as this user and group if one is given.
    Server {
        /// The owner of what the message creates.
        owner: Option<(u32, u32)>,
    },
}

/// One fid.
#[derive(Clone)]
struct Fid {
    uid: u32,
    directory: Option<Arc<OwnedFd>>,
}

/// The fids in use.
#[derive(Default)]
pub struct Fids(HashMap<u32, Fid>);

impl Fids {
    /// Looks at a request before the server does.
    pub fn before(&mut self, message: &[u8]) -> Reply {
        let mut fields = Fields::new(message);
        match message.get(4) {
            Some(&TLCREATE) => {
                Reply::Server { owner: self.owner(&mut fields, &[Field::Text, Field::U32, Field::U32]) }
            }
            Some(&TMKDIR) => Reply::Server { owner: self.owner(&mut fields, &[Field::Text, Field::U32]) },
            Some(&TSYMLINK) => Reply::Own(answer(message, TSYMLINK + 1, self.symlink(&mut fields))),
            Some(&TMKNOD) => Reply::Own(answer(message, TMKNOD + 1, self.mknod(&mut fields))),
            _ => Reply::Server { owner: None },
        }
    }

    /// Learns from a request that the server has answered.
    pub fn after(&mut self, message: &[u8], reply: &[u8]) {
        if reply.get(4).is_none_or(|kind| *kind == RLERROR) {
            return;
        }
        let mut fields = Fields::new(message);
        match message.get(4) {
            Some(&TVERSION) => self.0.clear(),
            Some(&TATTACH) => {
                self.attach(&mut fields);
            }
            Some(&TWALK) => {
                self.walk(&mut fields, reply);
            }
            Some(&(TCLUNK | TREMOVE)) => {
                fields.u32().map(|fid| self.0.remove(&fid));
            }
            Some(&TLCREATE) => {
                // The fid means the new file from here on.
                if let Some(fid) = fields.u32().and_then(|fid| self.0.get_mut(&fid)) {
                    fid.directory = None;
                }
            }
            _ => {}
        }
    }

    /// The user of a message's first fid and the group at its end.
    fn owner(&self, fields: &mut Fields<'_>, between: &[Field]) -> Option<(u32, u32)> {
        let uid = self.0.get(&fields.u32()?)?.uid;
        for field in between {
            match field {
                Field::Text => drop(fields.text()?),
                Field::U32 => drop(fields.u32()?),
            }
        }
        Some((uid, fields.u32()?))
    }

    fn attach(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let fid = fields.u32()?;
        fields.u32()?;
        fields.text()?;
        fields.text()?;
        let uid = match fields.u32()? {
            u32::MAX => 0,
            uid => uid,
        };
        self.0.insert(fid, Fid { uid, directory: open(CWD, OsStr::new("/")) });
        Some(())
    }

    fn walk(&mut self, fields: &mut Fields<'_>, reply: &[u8]) -> Option<()> {
        let (from, to) = (fields.u32()?, fields.u32()?);
        let steps = fields.u16()?;
        // A walk that ended early made no fid.
        if Fields::new(reply).u16()? != steps {
            return None;
        }
        let start = self.0.get(&from)?.clone();
        let mut directory = start.directory;
        for _ in 0..steps {
            let name = fields.text()?;
            directory = directory.and_then(|parent| open(&*parent, name));
        }
        self.0.insert(to, Fid { uid: start.uid, directory });
        Some(())
    }

    fn symlink(&self, fields: &mut Fields<'_>) -> Result<Stat, Errno> {
        let fid = fields.u32().and_then(|fid| self.0.get(&fid)).ok_or(Errno::BADF)?;
        let (name, target) = fields.text().zip(fields.text()).ok_or(Errno::INVAL)?;
        let gid = fields.u32().ok_or(Errno::INVAL)?;
        let directory = fid.directory.as_ref().ok_or(Errno::NOTDIR)?;
        rustix::fs::symlinkat(target, directory, name)?;
        own(directory, name, fid.uid, gid)
    }

    fn mknod(&self, fields: &mut Fields<'_>) -> Result<Stat, Errno> {
        let fid = fields.u32().and_then(|fid| self.0.get(&fid)).ok_or(Errno::BADF)?;
        let name = fields.text().ok_or(Errno::INVAL)?;
        let mode = fields.u32().ok_or(Errno::INVAL)?;
        let (_major, _minor) = fields.u32().zip(fields.u32()).ok_or(Errno::INVAL)?;
        let gid = fields.u32().ok_or(Errno::INVAL)?;
        let directory = fid.directory.as_ref().ok_or(Errno::NOTDIR)?;
        let kind = FileType::from_raw_mode(mode);
        if !matches!(kind, FileType::Fifo | FileType::Socket | FileType::RegularFile) {
            return Err(Errno::PERM);
        }
        rustix::fs::mknodat(directory, name, kind, Mode::from_raw_mode(mode & 0o7777), 0)?;
        own(directory, name, fid.uid, gid)
    }
}

/// Opens one step of a path, if it is a directory.
fn open(parent: impl std::os::fd::AsFd, name: &OsStr) -> Option<Arc<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).ok().map(Arc::new)
}

fn own(directory: &Arc<OwnedFd>, name: &OsStr, uid: u32, gid: u32) -> Result<Stat, Errno> {
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(directory.as_fd(), name, Some(uid), Some(gid), nofollow)?;
    rustix::fs::statat(directory.as_fd(), name, nofollow)
}

/// A reply with the qid of what was made, or `Rlerror`.
fn answer(message: &[u8], kind: u8, result: Result<Stat, Errno>) -> Vec<u8> {
    let tag = message.get(5..7).unwrap_or(&[0, 0]);
    let (kind, body) = match result {
        Ok(stat) => {
            let link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
            let mut qid = vec![if link { 2 } else { 0 }];
            qid.extend([0; 4]);
            qid.extend(stat.st_ino.to_le_bytes());
            (kind, qid)
        }
        Err(errno) => (RLERROR, errno.raw_os_error().to_le_bytes().to_vec()),
    };
    let size = u32::try_from(7 + body.len()).unwrap_or(u32::MAX);
    let mut reply = size.to_le_bytes().to_vec();
    reply.push(kind);
    reply.extend(tag);
    reply.extend(body);
    reply
}

/// A field to skip.
enum Field {
    Text,
    U32,
}

/// Reads a message's fields one after the other; `None` when it is too short.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Begins after size, kind and tag.
    fn new(message: &'a [u8]) -> Self {
        Self(message.get(7..).unwrap_or_default())
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a OsStr> {
        let length = usize::from(self.u16()?);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(OsStr::from_bytes(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let mut bytes = u32::try_from(7 + body.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend([kind, 1, 0]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_owner_of_a_new_file_is_who_attached() {
        let mut fids = Fids::default();
        let ok = message(105, &[&[0; 13]]);
        fids.after(
            &message(TATTACH, &[&[1, 0, 0, 0], &[255; 4], &[0, 0], &[0, 0], &1000_u32.to_le_bytes()]),
            &ok,
        );
        let walked = message(111, &[&[0, 0]]);
        fids.after(&message(TWALK, &[&[1, 0, 0, 0], &[2, 0, 0, 0], &[0, 0]]), &walked);
        let create =
            message(TLCREATE, &[&[2, 0, 0, 0], &[1, 0], b"f", &[0; 4], &[0; 4], &100_u32.to_le_bytes()]);
        assert!(matches!(fids.before(&create), Reply::Server { owner: Some((1000, 100)) }));
    }

    #[test]
    fn devices_are_refused_and_short_messages_are_survived() {
        let mut fids = Fids::default();
        let ok = message(105, &[&[0; 13]]);
        fids.after(&message(TATTACH, &[&[1, 0, 0, 0], &[255; 4], &[0, 0], &[0, 0], &[0; 4]]), &ok);
        let device = message(TMKNOD, &[&[1, 0, 0, 0], &[1, 0], b"d", &0o060_600_u32.to_le_bytes(), &[0; 12]]);
        let Reply::Own(reply) = fids.before(&device) else { panic!("not answered here") };
        assert_eq!(reply[4], RLERROR);
        for length in 0..device.len() {
            for kind in [TATTACH, TWALK, TCLUNK, TLCREATE, TSYMLINK, TMKNOD, TMKDIR] {
                let mut short = device[..length].to_vec();
                if let Some(byte) = short.get_mut(4) {
                    *byte = kind;
                }
                fids.before(&short);
                fids.after(&short, &short);
            }
        }
    }
}
