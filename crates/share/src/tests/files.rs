use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};

use rustix::fs::OFlags;
use rustix::io::Errno;
use tempfile::TempDir;

use super::{Guest, longs, request, u64_at, words};
use crate::abi::{ROOT, op};
use crate::message::Replies;

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

/// In a thread whose working directory is its own.
#[test]
fn nothing_of_proc_is_near_but_own_files() {
    let Ok(own) = crate::OwnFiles::alone() else { return };
    std::thread::spawn(move || {
        // SAFETY: root and working directory become this thread's own; no other state is shared less.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }.unwrap();
        own.enter().unwrap();
        let here = fs::metadata(".").unwrap();
        let above = fs::metadata("../../..").unwrap();
        assert_eq!((here.dev(), here.ino()), (above.dev(), above.ino()));
        let file = fs::File::open("/proc/self/status").unwrap();
        crate::own::reopen(&file, OFlags::RDONLY).unwrap();
    })
    .join()
    .unwrap();
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
