use std::fs;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use tempfile::TempDir;

use super::{Guest, Lock, longs, u64_at, words};
use crate::abi::op;

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
    // A lock that is the open file's own goes with it: nobody says that its owner has closed it.
    assert_eq!(one.lock(op::SETLK, first), Some(Err(Errno::AGAIN)));
    one.ask(op::RELEASE, first.node, &[&close]).unwrap();
    assert_eq!(one.lock(op::SETLK, first), Some(Ok(())));
}

#[test]
fn what_a_guest_can_hold_is_bounded() {
    let scratch = TempDir::new().unwrap();
    let [(mut one, first), (mut two, second)] = two_guests(scratch.path());
    assert_eq!(two.lock(op::SETLK, second), Some(Ok(())));
    let mut refused = 0;
    for owner in 0..1500 {
        match one.lock(op::SETLKW, Lock { owner, flock: false, ..first }) {
            None => {}
            Some(Err(Errno::NOLCK | Errno::NFILE)) => refused += 1,
            Some(other) => panic!("{other:?}"),
        }
    }
    assert!(refused >= 476, "{refused}");
    one.server.limit_to(20);
    let opened = (0..50).map(|number| one.create(&format!("{number}"))).take_while(Result::is_ok).count();
    assert!(opened <= 10, "{opened}");
    assert_eq!(one.create("more"), Err(Errno::NFILE));
}
