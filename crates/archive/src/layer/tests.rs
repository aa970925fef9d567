use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::*;
use crate::{Bounds, restore};

const BOUNDS: Bounds = Bounds { bytes: 1 << 30, entries: 10_000 };

/// One of everything that a test may make; with root's rights also what takes those.
fn tree(root: bool) -> tempfile::TempDir {
    let base = tempfile::tempdir().unwrap();
    let top = base.path();
    fs::create_dir_all(top.join("etc/opaque/deep")).unwrap();
    fs::write(top.join("etc/file"), "content").unwrap();
    fs::set_permissions(top.join("etc/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(top.join("etc/file"), top.join("etc/opaque/deep/other")).unwrap();
    std::os::unix::fs::symlink("../../nowhere", top.join("etc/link")).unwrap();
    fs::write(top.join(OsStr::from_bytes(b"not \xff\xfe UTF-8")), "x").unwrap();
    fs::write(top.join(OsStr::from_bytes(b"two\nlines 12 path=evil\n\xff")), "x").unwrap();
    fs::write(top.join("n".repeat(255)), "long").unwrap();
    fs::write(top.join(".wh-like"), "a name").unwrap();
    let holes = fs::File::create(top.join("holes")).unwrap();
    holes.write_all_at(b"beginning", 0).unwrap();
    holes.write_all_at(b"middle", 5 << 20).unwrap();
    holes.set_len(64 << 20).unwrap();
    fs::File::create(top.join("nothing but a hole")).unwrap().set_len(1 << 20).unwrap();
    rustix::fs::mknodat(CWD, top.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    rustix::fs::mknodat(CWD, top.join("socket"), FileType::Socket, Mode::from_raw_mode(0o600), 0).unwrap();
    rustix::fs::setxattr(top.join("etc/file"), "user.note", b"a\n=\0b", XattrFlags::empty()).ok();
    if root {
        let device = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(
            CWD,
            top.join("null"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            device,
        )
        .unwrap();
        rustix::fs::mknodat(CWD, top.join("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        rustix::fs::setxattr(top.join("etc/opaque"), "trusted.overlay.opaque", b"y", XattrFlags::empty())
            .unwrap();
        std::os::unix::fs::chown(top.join("holes"), Some(4_000_000_000), Some(12)).unwrap();
        std::os::unix::fs::lchown(top.join("etc/link"), Some(1000), Some(1000)).unwrap();
    }
    for (name, seconds, nanos) in
        [("etc/file", 1, 123_456_789), ("etc", -5, 250_000_000), ("holes", -1, 500_000_000)]
    {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, top.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    base
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let from = tree(is_root());
    let mut bytes = Vec::new();
    let before = layer(from.path(), Form::Overlay, &[], &mut bytes).unwrap();
    assert!(bytes.len() < 4 << 20, "holes stay holes: {}", bytes.len());
    let to = tempfile::tempdir().unwrap();
    restore(to.path(), bytes.as_slice(), BOUNDS).unwrap();
    assert_eq!(digest(to.path()).unwrap(), before);
    let (from, to) = (from.path(), to.path());
    assert_eq!(fs::metadata(to.join("etc/file")).unwrap().nlink(), 2);
    assert_eq!(fs::metadata(to.join("etc/file")).unwrap().mtime_nsec(), 123_456_789);
    assert_eq!(fs::metadata(to.join("etc")).unwrap().mtime(), -5);
    assert!(fs::metadata(to.join("holes")).unwrap().blocks() < 1000);
    assert_eq!(fs::read(to.join("holes")).unwrap(), fs::read(from.join("holes")).unwrap());
    let access = |top: &Path| fs::symlink_metadata(top.join("etc/file")).unwrap().atime_nsec();
    assert_eq!(access(to), access(from));
    // The other way, and with a change of every kind the digest is another.
    assert_eq!(digest(from).unwrap(), before);
    fs::set_permissions(to.join("etc/file"), fs::Permissions::from_mode(0o751)).unwrap();
    assert_ne!(digest(to).unwrap(), before);
}

#[test]
fn the_digest_does_not_see_holes_but_everything_else() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    let stamp = |path: &Path| {
        let time = Timespec { tv_sec: 7, tv_nsec: 7 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    let of = |content: &[u8], hole: u64| {
        fs::remove_file(&file).ok();
        let open = fs::File::create(&file).unwrap();
        open.write_all_at(content, 0).unwrap();
        open.set_len(content.len() as u64 + hole).unwrap();
        stamp(&file);
        stamp(base.path());
        digest(base.path()).unwrap()
    };
    let zeroes = vec![0; 100_000];
    assert_eq!(of(&zeroes, 0), of(b"", 100_000));
    assert_ne!(of(&zeroes, 0), of(b"", 100_001));
    let mut one = zeroes.clone();
    one[70_000] = 1;
    let other = of(&one, 0);
    assert_ne!(of(&zeroes, 0), other);
    one.swap(70_000, 70_001);
    assert_ne!(of(&one, 0), other);
}

#[test]
fn a_layer_has_the_standards_marks() {
    if !is_root() {
        println!("not run: making a whiteout needs root");
        return;
    }
    let from = tree(true);
    let mut bytes = Vec::new();
    layer(from.path(), Form::Oci, &["/etc/opaque/deep"], &mut bytes).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let names: Vec<_> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned()).collect();
    let has = |name: &str| names.iter().any(|there| there == name.as_bytes());
    assert!(has(".wh.gone") && has("etc/opaque/.wh..wh..opq") && has("null"), "{names:?}");
    assert!(!has("gone") && !has("socket") && !has("etc/opaque/deep/"), "{names:?}");
    fs::write(from.path().join(".wh.mine"), "").unwrap();
    let refused = layer(from.path(), Form::Oci, &[], io::sink()).unwrap_err();
    assert!(refused.to_string().contains("/.wh.mine: a name that begins with .wh."), "{refused}");
}

/// An archive that a writer of ours would not make.
fn hostile(entries: &[(&str, EntryType, Option<&str>)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, target) in entries {
        let mut head = tar::Header::new_gnu();
        head.set_entry_type(*kind);
        head.set_size(0);
        head.set_mode(0o755);
        head.set_uid(rustix::process::getuid().as_raw().into());
        head.set_gid(rustix::process::getgid().as_raw().into());
        head.set_mtime(0);
        append(&mut builder, &mut head, name.as_bytes(), target.map(str::as_bytes), Vec::new(), io::empty())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn nothing_leads_out() {
    use EntryType::{Directory, Link, Regular, Symlink};
    let bad: &[&[(&str, EntryType, Option<&str>)]] = &[
        &[],
        &[("a", Regular, None)],
        &[("./", Directory, None), ("../a", Regular, None)],
        &[("./", Directory, None), ("/a", Regular, None)],
        &[("./", Directory, None), ("l", Symlink, Some("/tmp")), ("l/a", Regular, None)],
        &[("./", Directory, None), ("l", Symlink, Some("/etc")), ("a", Link, Some("l/passwd"))],
        &[("./", Directory, None), ("a", Link, Some("../../etc/passwd"))],
        &[("./", Directory, None), ("a", Regular, None), ("a", Regular, None)],
        &[("./", Directory, None), ("d/", Directory, None), ("e/", Directory, None), ("d/a", Regular, None)],
        &[("./", Directory, None), ("d", Directory, None), ("a", Link, Some("d"))],
        &[("./", Directory, None), ("a", EntryType::XHeader, None)],
    ];
    for entries in bad {
        let to = tempfile::tempdir().unwrap();
        assert!(restore(to.path(), hostile(entries).as_slice(), BOUNDS).is_err(), "{entries:?}");
    }
    let few = Bounds { bytes: 0, entries: 2 };
    let to = tempfile::tempdir().unwrap();
    let three = [("./", Directory, None), ("a", Regular, None), ("b", Regular, None)];
    assert!(restore(to.path(), hostile(&three).as_slice(), few).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let to = tempfile::tempdir().unwrap();
        let _ = restore(to.path(), bytes.as_slice(), BOUNDS);
    }

    #[test]
    fn times_read_back(seconds in -1_000_000_i64..5_000_000_000, nanos in 0_u64..1_000_000_000) {
        let text = time(seconds, nanos);
        let read = crate::restore::time(&text).unwrap();
        prop_assert_eq!((read.tv_sec, read.tv_nsec.cast_unsigned()), (seconds, nanos));
    }
}
