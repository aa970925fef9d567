//! File locks, which are the host's: they exclude every other process of the host, be it in a container or in no
//! container, and every other VM.
//!
//! `fcntl` locks belong to one of the guest's processes and one file, whatever descriptor they were asked for through:
//! for each such pair there is an open file here that holds them (`F_OFD_SETLK`). `flock` locks belong to an open file:
//! the one here that stands for it holds them. A lock that is to be waited for is tried again and again, so that other
//! requests are answered meanwhile.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::FcntlArg;
use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::abi::{self, op};
use crate::message::{Fields, Header, Replies};
use crate::server::Server;

/// When a lock is tried again: at first soon, then less and less often.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(32);
/// The most requests that wait.
const MAX_WAITING: usize = 1024;
/// The last byte that there can be.
const END: u64 = i64::MAX.cast_unsigned();

/// What is asked for.
#[derive(Clone, Copy, Debug)]
struct Lock {
    node: u64,
    handle: u64,
    owner: u64,
    /// The first byte and the last.
    start: u64,
    end: u64,
    kind: i16,
    pid: u32,
    flock: bool,
}

impl Lock {
    fn parse(header: &Header, fields: &mut Fields<'_>) -> Result<Self, Errno> {
        let (handle, owner) = (fields.u64()?, fields.u64()?);
        let (start, end, kind, pid) = (fields.u64()?, fields.u64()?, fields.u32()?, fields.u32()?);
        let (flags, _) = (fields.u32()?, fields.u32()?);
        let kind = i16::try_from(kind).map_err(|_large| Errno::INVAL)?;
        let known = [libc::F_RDLCK, libc::F_WRLCK, libc::F_UNLCK];
        if !known.map(|known| known as i16).contains(&kind) || start > end || end > END {
            return Err(Errno::INVAL);
        }
        let flock = flags & abi::LOCK_IS_FLOCK != 0;
        Ok(Self { node: header.node, handle, owner, start, end, kind, pid, flock })
    }

    fn is(&self, kind: libc::c_int) -> bool {
        libc::c_int::from(self.kind) == kind
    }

    /// As `fcntl` has it: a length of 0 reaches to the end, wherever that will be.
    fn range(&self) -> libc::flock {
        let length = if self.end == END { 0 } else { self.end - self.start + 1 };
        libc::flock {
            l_type: self.kind,
            l_whence: libc::SEEK_SET as i16,
            l_start: self.start.cast_signed(),
            l_len: length.cast_signed(),
            l_pid: 0,
        }
    }
}

/// An open file that holds one owner's `fcntl` locks.
#[derive(Debug)]
struct Holder {
    fd: OwnedFd,
    pid: u32,
    /// Through which of the guest's open files it locked last.
    handle: u64,
}

/// A request for a lock that another has.
#[derive(Debug)]
struct Waiting {
    unique: u64,
    lock: Lock,
    again: Instant,
    delay: Duration,
}

/// What the guest has locked and waits for.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    holders: HashMap<(u64, u64), Holder>,
    waiting: Vec<Waiting>,
}

impl Locks {
    /// How many descriptors there are.
    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }

    /// Something was unlocked: who waits may have it.
    fn hurry(&mut self) {
        let now = Instant::now();
        self.waiting.iter_mut().for_each(|waiting| waiting.again = now);
    }
}

impl Server {
    /// How long until a lock is to be tried again, if any is waited for.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let next = self.locks.waiting.iter().map(|waiting| waiting.again).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Tries the locks whose time has come.
    pub(crate) fn retry_locks(&mut self, replies: &mut Replies) {
        let now = Instant::now();
        for mut waiting in std::mem::take(&mut self.locks.waiting) {
            if waiting.again <= now {
                match self.try_lock(&waiting.lock) {
                    Err(Errno::AGAIN) => {
                        waiting.again = now + waiting.delay;
                        waiting.delay = (waiting.delay * 2).min(LATER);
                    }
                    outcome => {
                        answer(waiting.unique, &waiting.lock, outcome, replies);
                        continue;
                    }
                }
            }
            self.locks.waiting.push(waiting);
        }
    }

    pub(crate) fn set_lock(&mut self, header: &Header, fields: &mut Fields<'_>, replies: &mut Replies) {
        let lock = match Lock::parse(header, fields) {
            Ok(lock) => lock,
            Err(error) => return replies.reply(header.unique, |_| Err(error)),
        };
        let mut outcome = self.try_lock(&lock);
        if outcome == Err(Errno::AGAIN) && header.op == op::SETLKW {
            if self.locks.waiting.len() < MAX_WAITING {
                let (again, delay) = (Instant::now() + SOON, SOON);
                self.locks.waiting.push(Waiting { unique: header.unique, lock, again, delay });
                return;
            }
            outcome = Err(Errno::NOLCK);
        }
        if lock.is(libc::F_UNLCK) {
            self.locks.hurry();
        }
        answer(header.unique, &lock, outcome, replies);
    }

    fn try_lock(&mut self, lock: &Lock) -> Result<(), Errno> {
        if lock.flock {
            let how = match libc::c_int::from(lock.kind) {
                libc::F_RDLCK => FlockOperation::NonBlockingLockShared,
                libc::F_WRLCK => FlockOperation::NonBlockingLockExclusive,
                _ => FlockOperation::Unlock,
            };
            return rustix::fs::flock(self.handles.get(lock.handle)?, how);
        }
        let key = (lock.node, lock.owner);
        if lock.is(libc::F_UNLCK) && lock.start == 0 && lock.end == END {
            self.locks.holders.remove(&key);
            return Ok(());
        }
        if !self.locks.holders.contains_key(&key) {
            if lock.is(libc::F_UNLCK) {
                return Ok(());
            }
            self.room()?;
            let fd = self.open_to_lock(lock.node)?;
            self.locks.holders.insert(key, Holder { fd, pid: lock.pid, handle: lock.handle });
        }
        let Some(holder) = self.locks.holders.get_mut(&key) else { return Err(Errno::NOLCK) };
        holder.handle = lock.handle;
        match fcntl(holder.fd.as_fd(), FcntlArg::F_OFD_SETLK(&lock.range())) {
            Err(Errno::ACCESS) => Err(Errno::AGAIN),
            outcome => outcome,
        }
    }

    /// Opens a file to lock it: for writing if that is possible, as the owner may lock for reading first.
    fn open_to_lock(&self, node: u64) -> Result<OwnedFd, Errno> {
        self.open_node(node, OFlags::RDWR, 0).or_else(|_read_only| self.open_node(node, OFlags::RDONLY, 0))
    }

    /// Who is in the way of a lock.
    pub(crate) fn get_lock(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let lock = Lock::parse(header, fields)?;
        let mut found = lock.range();
        match self.locks.holders.get(&(lock.node, lock.owner)) {
            Some(holder) => fcntl(holder.fd.as_fd(), FcntlArg::F_OFD_GETLK(&mut found))?,
            None => {
                let fd = self.open_to_lock(lock.node)?;
                fcntl(fd.as_fd(), FcntlArg::F_OFD_GETLK(&mut found))?;
            }
        }
        // The host does not say which of the guest's processes it is; when only one other has locks, it is that one.
        let mut others =
            self.locks.holders.iter().filter(|((node, owner), _)| *node == lock.node && *owner != lock.owner);
        let pid = match (others.next(), others.next()) {
            (Some((_, holder)), None) if found.l_pid == -1 => holder.pid,
            _ => 0,
        };
        let start = found.l_start.cast_unsigned();
        reply.u64(start);
        reply.u64(if found.l_len == 0 { END } else { start + found.l_len.cast_unsigned() - 1 });
        reply.u32(u32::from(found.l_type.cast_unsigned()));
        reply.u32(pid);
        Ok(())
    }

    /// A descriptor was closed: by POSIX all its process's `fcntl` locks of the file go.
    pub(crate) fn flush(&mut self, header: &Header, fields: &mut Fields<'_>) -> Result<(), Errno> {
        let (_handle, _, owner) = (fields.u64()?, fields.u64()?, fields.u64()?);
        if self.locks.holders.remove(&(header.node, owner)).is_some() {
            self.locks.hurry();
        }
        Ok(())
    }

    /// A process no longer waits for a lock. Everything else that could be interrupted has been answered.
    pub(crate) fn interrupt(&mut self, fields: &mut Fields<'_>, replies: &mut Replies) -> Result<(), Errno> {
        let unique = fields.u64()?;
        if let Some(index) = self.locks.waiting.iter().position(|waiting| waiting.unique == unique) {
            self.locks.waiting.remove(index);
            replies.reply(unique, |_| Err(Errno::INTR));
        }
        Ok(())
    }

    /// An open file is closed for the last time: `flock`'s lock is gone with it, and so are those that belong to open
    /// files instead of processes, of whose end the kernel does not tell. Processes' own have gone before ([`Self::flush`]).
    pub(crate) fn unlock_closed(&mut self, handle: u64) {
        self.locks.holders.retain(|_, holder| holder.handle != handle);
        self.locks.hurry();
    }
}

/// Answers. Who has a lock now sees what the one before has done: the kernel forgets the attributes that it knows.
fn answer(unique: u64, lock: &Lock, outcome: Result<(), Errno>, replies: &mut Replies) {
    if outcome.is_ok() && !lock.is(libc::F_UNLCK) {
        replies.notify(abi::NOTIFY_INVAL_INODE, [lock.node, u64::MAX, 0]);
    }
    replies.reply(unique, |_| outcome);
}

fn fcntl(fd: BorrowedFd<'_>, what: FcntlArg<'_>) -> Result<(), Errno> {
    match nix::fcntl::fcntl(fd, what) {
        Ok(_) => Ok(()),
        Err(error) => Err(Errno::from_raw_os_error(error as i32)),
    }
}
