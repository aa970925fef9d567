//! A guest that is nothing but its messages, and servers of a scratch directory.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::abi::{ROOT, op};
use crate::message::{self, Replies};
use crate::{OwnFiles, Server};

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

#[test]
fn a_file_outlives_its_name() {
    let scratch = TempDir::new().unwrap();
    let mut guest = Guest::new(scratch.path());
    let (node, handle) = guest.create("file").unwrap();
    let write = [longs(&[handle, 3]), words(&[5, 0]), longs(&[0]), words(&[0, 0])].concat();
    assert_eq!(guest.ask(op::WRITE, node, &[&write, b"hello"]), Ok(words(&[5, 0])));
    assert_eq!(fs::read(scratch.path().join("file")).unwrap(), b"\0\0\0hello");
    guest.ask(op::UNLINK, ROOT, &[b"file\0"]).unwrap();
    assert_eq!(guest.lookup("file"), Err(Errno::NOENT));
    let read = [longs(&[handle, 4]), words(&[100, 0]), longs(&[0]), words(&[0, 0])].concat();
    assert_eq!(guest.ask(op::READ, node, &[&read]), Ok(b"ello".to_vec()));
    // By its node, too: another open file of the same.
    guest.ask(op::OPEN, node, &[&words(&[OFlags::RDONLY.bits(), 0])]).unwrap();
    assert!(guest.send(op::FORGET, node, &[&longs(&[1])]).is_empty());
    assert_eq!(guest.ask(op::GETATTR, node, &[&[0; 16]]), Err(Errno::STALE));
}

#[test]
fn appending_is_at_the_hosts_end() {
    let scratch = TempDir::new().unwrap();
    let mut guest = Guest::new(scratch.path());
    let (node, handle) = guest.create("log").unwrap();
    fs::write(scratch.path().join("log"), "another's\n").unwrap();
    let append = OFlags::APPEND.bits();
    let write = [longs(&[handle, 0]), words(&[4, 0]), longs(&[0]), words(&[append, 0])].concat();
    guest.ask(op::WRITE, node, &[&write, b"mine"]).unwrap();
    assert_eq!(fs::read(scratch.path().join("log")).unwrap(), b"another's\nmine");
}

#[test]
fn nothing_leads_out() {
    let scratch = TempDir::new().unwrap();
    let shared = scratch.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(scratch.path().join("secret"), "secret").unwrap();
    symlink("../secret", shared.join("link")).unwrap();
    let mut guest = Guest::new(&shared);
    for name in ["..", ".", "", "a/b", "/", "../secret", "link/x"] {
        assert_eq!(guest.lookup(name), Err(Errno::INVAL), "{name:?}");
    }
    assert_eq!(guest.ask(op::LOOKUP, ROOT, &[b"no end"]), Err(Errno::INVAL));
    let link = guest.lookup("link").unwrap();
    assert_eq!(guest.ask(op::OPEN, link, &[&words(&[0, 0])]), Err(Errno::LOOP));
    assert_eq!(guest.ask(op::READLINK, link, &[]), Ok(b"../secret".to_vec()));
    assert_eq!(guest.ask(op::LOOKUP, link, &[b"x\0"]), Err(Errno::NOTDIR));
    // Creating through a link makes nothing and opens nothing.
    assert_eq!(guest.create("link"), Err(Errno::LOOP));
    assert_eq!(fs::read(scratch.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn pipes_are_made_but_not_opened_and_devices_are_not_made() {
    let scratch = TempDir::new().unwrap();
    let mut guest = Guest::new(scratch.path());
    guest.ask(op::MKNOD, ROOT, &[&words(&[0o010_600, 0, 0, 0]), b"pipe\0"]).unwrap();
    assert!(fs::metadata(scratch.path().join("pipe")).unwrap().file_type().is_fifo());
    let pipe = guest.lookup("pipe").unwrap();
    assert_eq!(guest.ask(op::OPEN, pipe, &[&words(&[0, 0])]), Err(Errno::NXIO));
    for kind in [0o060_600, 0o020_600] {
        let device = [words(&[kind, 0x103, 0, 0]), b"null\0".to_vec()].concat();
        assert_eq!(guest.ask(op::MKNOD, ROOT, &[&device]), Err(Errno::PERM));
    }
}

#[test]
fn a_directory_is_read_on_where_it_was_left() {
    let scratch = TempDir::new().unwrap();
    for number in 0..200 {
        fs::write(scratch.path().join(format!("a-name-of-some-length-{number}")), "").unwrap();
    }
    let mut guest = Guest::new(scratch.path());
    let handle = u64_at(&guest.ask(op::OPENDIR, ROOT, &[&words(&[0, 0])]).unwrap(), 0);
    let (mut names, mut offset) = (std::collections::HashSet::new(), 0);
    loop {
        let read = [longs(&[handle, offset]), words(&[700, 0]), longs(&[0]), words(&[0, 0])].concat();
        let entries = guest.ask(op::READDIR, ROOT, &[&read]).unwrap();
        if entries.is_empty() {
            break;
        }
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let length = usize::try_from(u32::from_le_bytes(rest[16..20].try_into().unwrap())).unwrap();
            offset = u64_at(rest, 8);
            assert!(names.insert(rest[24..24 + length].to_vec()), "twice");
            rest = &rest[(24 + length).next_multiple_of(8)..];
        }
        // What is removed is no reason to miss anything else.
        fs::remove_file(scratch.path().join("a-name-of-some-length-7")).ok();
    }
    assert!(names.len() >= 201, "{}", names.len());
}

/// Two VMs with one file.
fn two_guests(scratch: &Path) -> [(Guest, Lock); 2] {
    fs::write(scratch.join("file"), "").unwrap();
    [1, 2].map(|owner| {
        let mut guest = Guest::new(scratch);
        let node = guest.lookup("file").unwrap();
        let opened = guest.ask(op::OPEN, node, &[&words(&[OFlags::RDWR.bits(), 0])]).unwrap();
        let kind = libc::F_WRLCK as i16;
        (guest, Lock { node, handle: u64_at(&opened, 0), owner, kind, flock: false })
    })
}

#[test]
fn locks_exclude_other_guests() {
    let scratch = TempDir::new().unwrap();
    for flock in [false, true] {
        let [(mut one, first), (mut two, second)] = two_guests(scratch.path());
        let (first, second) = (Lock { flock, ..first }, Lock { flock, ..second });
        assert_eq!(one.lock(op::SETLK, first), Some(Ok(())));
        assert_eq!(two.lock(op::SETLK, second), Some(Err(Errno::AGAIN)));
        // Waiting does not keep anything else from being answered.
        assert_eq!(two.lock(op::SETLKW, second), None);
        let waiting = two.unique;
        assert!(two.lookup("file").is_ok());
        assert!(two.later().is_empty());
        assert_eq!(one.lock(op::SETLK, Lock { kind: libc::F_UNLCK as i16, ..first }), Some(Ok(())));
        assert_eq!(std::iter::repeat_with(|| two.later()).find(|got| !got.is_empty()).unwrap()[0].0, waiting);
        assert_eq!(one.lock(op::SETLK, first), Some(Err(Errno::AGAIN)));
        // A wait that is given up is answered, and takes nothing.
        assert_eq!(one.lock(op::SETLKW, first), None);
        let given_up = one.unique;
        assert_eq!(one.send(op::INTERRUPT, 0, &[&longs(&[given_up])]), [(given_up, Err(Errno::INTR))]);
        assert!(one.server.patience().is_none());
        // The end of a guest frees all.
        drop(two);
        assert_eq!(one.lock(op::SETLK, first), Some(Ok(())));
    }
}

#[test]
fn locks_belong_to_a_process_and_go_with_its_close() {
    let scratch = TempDir::new().unwrap();
    let [(mut one, first), _] = two_guests(scratch.path());
    assert_eq!(one.lock(op::SETLK, first), Some(Ok(())));
    // The same process through another descriptor; another process.
    let opened = one.ask(op::OPEN, first.node, &[&words(&[OFlags::RDWR.bits(), 0])]).unwrap();
    let again = Lock { handle: u64_at(&opened, 0), ..first };
    assert_eq!(one.lock(op::SETLK, again), Some(Ok(())));
    let other = Lock { owner: 9, ..again };
    assert_eq!(one.lock(op::SETLK, other), Some(Err(Errno::AGAIN)));
    // Who it is.
    let ask = [longs(&[again.handle, 9, 5, 5]), words(&[1, 0, 0, 0])].concat();
    let found = one.ask(op::GETLK, first.node, &[&ask]).unwrap();
    assert_eq!(found, [longs(&[0, i64::MAX.cast_unsigned()]), words(&[1, 77])].concat());
    // flock's locks are others.
    assert_eq!(one.lock(op::SETLK, Lock { flock: true, ..other }), Some(Ok(())));
    let close = [longs(&[again.handle]), words(&[0, 0]), longs(&[first.owner])].concat();
    one.ask(op::FLUSH, first.node, &[&close]).unwrap();
    assert_eq!(one.lock(op::SETLK, other), Some(Ok(())));
}

#[test]
fn what_a_guest_can_hold_is_bounded() {
    let scratch = TempDir::new().unwrap();
    let [(mut one, first), (mut two, second)] = two_guests(scratch.path());
    assert_eq!(two.lock(op::SETLK, second), Some(Ok(())));
    let mut refused = 0;
    for owner in 0..1500 {
        let flock = true;
        match one.lock(op::SETLKW, Lock { owner, flock: false, ..first }) {
            None => {}
            Some(Err(Errno::NOLCK | Errno::NFILE)) => refused += 1,
            Some(other) => panic!("{other:?} {flock}"),
        }
    }
    assert!(refused >= 476, "{refused}");
    one.server.limit_to(20);
    let opened = (0..50).map(|number| one.create(&format!("{number}"))).take_while(Result::is_ok).count();
    assert!(opened <= 10, "{opened}");
    assert_eq!(one.create("more"), Err(Errno::NFILE));
}

#[test]
fn attributes_and_their_links() {
    let scratch = TempDir::new().unwrap();
    let mut guest = Guest::new(scratch.path());
    guest.ask(op::SYMLINK, ROOT, &[b"link\0nowhere\0"]).unwrap();
    let link = guest.lookup("link").unwrap();
    let (file, _) = guest.create("file").unwrap();
    // MTIME of a link is the link's own.
    for (node, name) in [(link, "link"), (file, "file")] {
        let mut body = words(&[crate::abi::set::MTIME, 0]);
        body.extend(longs(&[0, 0, 0, 0, 1234, 0]));
        body.extend(words(&[0, 5678, 0, 0, 0, 0, 0, 0]));
        guest.ask(op::SETATTR, node, &[&body]).unwrap();
        let stat = fs::symlink_metadata(scratch.path().join(name)).unwrap();
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (1234, 5678), "{name}");
    }
    let set = [words(&[5, 0, 0, 0]), b"user.note\0value".to_vec()].concat();
    if guest.ask(op::SETXATTR, file, &[&set]) != Err(Errno::OPNOTSUPP) {
        assert_eq!(guest.ask(op::GETXATTR, file, &[&words(&[0, 0]), b"user.note\0"]), Ok(words(&[5, 0])));
        assert_eq!(guest.ask(op::GETXATTR, file, &[&words(&[64, 0]), b"user.note\0"]), Ok(b"value".to_vec()));
        assert_eq!(guest.ask(op::LISTXATTR, file, &[&words(&[64, 0])]), Ok(b"user.note\0".to_vec()));
        assert_eq!(guest.ask(op::LISTXATTR, file, &[&words(&[3, 0])]), Err(Errno::RANGE));
    }
    let hidden = [words(&[1, 0, 0, 0]), b"trusted.overlay.opaque\0y".to_vec()].concat();
    assert_eq!(guest.ask(op::SETXATTR, file, &[&hidden]), Err(Errno::OPNOTSUPP));
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let scratch = TempDir::new().unwrap();
    let mut guest = Guest::new(scratch.path());
    let whole = request(op::LOOKUP, ROOT, 9, b"name\0");
    for length in 0..whole.len() {
        assert!(guest.server.handle(&whole[..length], &mut Replies::default()).is_err());
    }
    let unknown = guest.ask(999, ROOT, &[]);
    assert_eq!(unknown, Err(Errno::NOSYS));
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
