//! A guest that is nothing but its messages, and servers of a scratch directory.

use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::abi::{ROOT, op};
use crate::message::{self, Replies};
use crate::{OwnFiles, Server};

mod files;
mod locks;

/// A reply: an error, or what is in it.
type Reply = Result<Vec<u8>, Errno>;

fn open_root(path: &Path) -> std::os::fd::OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

struct Guest {
    server: Server,
    unique: u64,
}

impl Guest {
    fn new(root: &Path) -> Self {
        let mut server = Server::new(open_root(root), &OwnFiles::open().unwrap()).unwrap();
        // As Linux 6.12 does.
        let asked = [7, 41, 0, u32::MAX, u32::MAX];
        let body: Vec<u8> = asked.iter().flat_map(|number: &u32| number.to_le_bytes()).collect();
        let mut replies = Replies::default();
        server.handle(&request(op::INIT, 0, 1, &body), &mut replies).unwrap();
        assert_eq!(split(&replies.0).len(), 1);
        Self { server, unique: 1 }
    }

    /// Sends a request; what comes back at once, notices left out.
    fn send(&mut self, op: u32, node: u64, body: &[&[u8]]) -> Vec<(u64, Reply)> {
        self.unique += 2;
        let mut replies = Replies::default();
        self.server.handle(&request(op, node, self.unique, &body.concat()), &mut replies).unwrap();
        split(&replies.0)
    }

    fn ask(&mut self, op: u32, node: u64, body: &[&[u8]]) -> Reply {
        let mut replies = self.send(op, node, body);
        assert_eq!(replies.len(), 1, "operation {op}");
        let (unique, reply) = replies.remove(0);
        assert_eq!(unique, self.unique);
        reply
    }

    fn lookup(&mut self, name: &str) -> Result<u64, Errno> {
        self.ask(op::LOOKUP, ROOT, &[name.as_bytes(), b"\0"]).map(|entry| u64_at(&entry, 0))
    }

    /// Node and handle of a new file.
    fn create(&mut self, name: &str) -> Result<(u64, u64), Errno> {
        let flags = (OFlags::RDWR | OFlags::CREATE).bits();
        let reply = self.ask(op::CREATE, ROOT, &[&words(&[flags, 0o644, 0, 0]), name.as_bytes(), b"\0"])?;
        Ok((u64_at(&reply, 0), u64_at(&reply, 128)))
    }

    fn lock(&mut self, op: u32, lock: Lock) -> Option<Result<(), Errno>> {
        let Lock { node, handle, owner, kind, flock } = lock;
        let range = [0, i64::MAX.cast_unsigned()];
        let flags = words(&[u32::from(kind.cast_unsigned()), 77, u32::from(flock), 0]);
        let mut replies = self.send(op, node, &[&longs(&[handle, owner]), &longs(&range), &flags]);
        (!replies.is_empty()).then(|| replies.remove(0).1.map(drop))
    }

    /// What comes by itself.
    fn later(&mut self) -> Vec<(u64, Reply)> {
        std::thread::sleep(self.server.patience().unwrap_or_default());
        let mut replies = Replies::default();
        self.server.retry_locks(&mut replies);
        split(&replies.0)
    }
}

#[derive(Clone, Copy)]
struct Lock {
    node: u64,
    handle: u64,
    owner: u64,
    kind: i16,
    flock: bool,
}

fn request(op: u32, node: u64, unique: u64, body: &[u8]) -> Vec<u8> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut message = u32::try_from(40 + body.len()).unwrap().to_le_bytes().to_vec();
    message.extend(op.to_le_bytes());
    message.extend(longs(&[unique, node]));
    message.extend(words(&[uid, gid, 0, 0]));
    message.extend(body);
    message
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn longs(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Replies by what they answer; notices answer nothing.
fn split(mut bytes: &[u8]) -> Vec<(u64, Reply)> {
    let mut replies = Vec::new();
    while let Some(length) = message::length(bytes) {
        let (one, rest) = bytes.split_at(length);
        bytes = rest;
        let error = i32::from_le_bytes(one[4..8].try_into().unwrap());
        match u64_at(one, 8) {
            0 => assert_eq!(error, crate::abi::NOTIFY_INVAL_INODE),
            unique if error == 0 => replies.push((unique, Ok(one[16..].to_vec()))),
            unique => replies.push((unique, Err(Errno::from_raw_os_error(-error)))),
        }
    }
    replies
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let scratch = TempDir::new().unwrap();
        crate::fuzz(open_root(scratch.path()), &OwnFiles::open().unwrap(), &data);
    }

    #[test]
    fn requests_with_names_are_survived(
        asked in proptest::collection::vec((1..52_u8, 0..6_u8, "[a-c./]{0,3}\0[a-c./]{0,3}\0", proptest::collection::vec(0..9_u8, 0..64)), 0..40),
    ) {
        let scratch = TempDir::new().unwrap();
        let data: Vec<u8> = asked
            .iter()
            .flat_map(|(op, node, names, numbers)| {
                // Numbers stand before names, in the length that each request has them, or not.
                let body = [numbers.as_slice(), names.as_bytes()].concat();
                [vec![*op, *node, u8::try_from(body.len()).unwrap()], body].concat()
            })
            .collect();
        crate::fuzz(open_root(scratch.path()), &OwnFiles::open().unwrap(), &data);
    }
}
