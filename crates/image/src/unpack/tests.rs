//! Hostile and unusual layers, built with the tar crate and by hand.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A tar archive under construction, with nothing checked.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn raw(
        mut self,
        kind: u8,
        name: &[u8],
        link: &[u8],
        data: &[u8],
        change: impl FnOnce(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_000_000);
        header.set_uid(0);
        header.set_gid(0);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, data: &[u8]) -> Self {
        self.raw(b'0', name.as_bytes(), b"", data, |_| {})
    }

    fn directory(self, name: &str, mode: u32) -> Self {
        self.raw(b'5', name.as_bytes(), b"", b"", |header| header.set_mode(mode))
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(b'2', name.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.raw(b'1', name.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    fn device(self, name: &str, major: u32, minor: u32) -> Self {
        self.raw(b'3', name.as_bytes(), b"", b"", |header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let digits = (1..8).find(|n| (body.len() + n).to_string().len() == *n).unwrap();
            write!(data, "{}", body.len() + digits).unwrap();
            data.extend_from_slice(&body);
        }
        self.raw(b'x', b"pax", b"", &data, |_| {})
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A scratch directory with a bait beside the layer's directory; the bait must survive.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        let scratch = Self(TempDir::new().unwrap());
        fs::create_dir(scratch.layer()).unwrap();
        fs::write(scratch.0.path().join("bait"), "bait").unwrap();
        scratch
    }

    fn layer(&self) -> std::path::PathBuf {
        self.0.path().join("layer")
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.layer().join(name)
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, Error> {
        let result = unpack(archive, &self.layer(), &|| false);
        assert_eq!(fs::read(self.0.path().join("bait")).unwrap(), b"bait");
        let mut names: Vec<_> =
            fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["bait", "layer"], "something was written outside");
        result
    }
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn hostile_archives_are_refused() {
    let bait = b"overwritten".as_slice();
    let lying = |size: u64| Tar::default().raw(b'0', b"f", b"", b"", |header| header.set_size(size)).end();
    let bombs = (0..5000).fold(Tar::default(), |tar, n| tar.device(&format!("d{n}"), 1, 3)).end();
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("absolute path", Tar::default().file("/etc/passwd", bait).end(), "absolute path"),
        ("dot dot", Tar::default().file("../bait", bait).end(), "climbs out"),
        ("dot dot inside", Tar::default().file("a/../../bait", bait).end(), "climbs out"),
        ("PAX path", Tar::default().pax(&[("path", b"../bait")]).file("a", bait).end(), "climbs out"),
        ("symlink climbs", Tar::default().symlink("x", "../bait").end(), "climbs out"),
        ("deep symlink climbs", Tar::default().symlink("a/b/x", "../../../bait").end(), "climbs out"),
        ("hard link climbs", Tar::default().link("x", "../bait").end(), "climbs out"),
        ("hard link to host file", Tar::default().link("x", "/etc/passwd").end(), "not in the layer"),
        (
            "hard link through symlink",
            Tar::default().symlink("s", "/etc").link("x", "s/passwd").end(),
            "not in the layer",
        ),
        (
            "hard link to directory",
            Tar::default().directory("d", 0o755).link("x", "d").end(),
            "to a directory",
        ),
        ("hard link to itself", Tar::default().file("x", b"").link("x", "x").end(), "to itself"),
        ("file as directory", Tar::default().file("a", b"").file("a/b", b"").end(), "not a directory"),
        (
            "dangling symlink as directory",
            Tar::default().symlink("a", "/nowhere").file("a/b", bait).end(),
            "not a directory",
        ),
        (
            "symlink loop",
            Tar::default().symlink("a", "b").symlink("b", "a").file("a/x", b"").end(),
            "not a directory",
        ),
        (
            "magic link",
            Tar::default().symlink("a", "/proc/self/root").file("a/x", b"").end(),
            "not a directory",
        ),
        ("root replaced", Tar::default().file(".", b"x").end(), "replaces the root"),
        ("root as symlink", Tar::default().symlink("./", "/etc").end(), "replaces the root"),
        ("truncated data", Tar::default().file("f", &[1; 2000]).end()[..1000].to_vec(), "unexpected end"),
        ("truncated header", Tar::default().file("f", b"x").end()[..200].to_vec(), "unexpected end"),
        ("lying size", lying(1 << 40), "unexpected end"),
        ("negative size", lying(u64::MAX), "size"),
        ("huge size", lying(1 << 63), "size"),
        (
            "PAX size lies",
            Tar::default().pax(&[("size", b"99999999")]).file("f", b"x").end(),
            "unexpected end",
        ),
        ("PAX bomb", Tar::default().raw(b'x', b"p", b"", b"", |h| h.set_size(1 << 30)).end(), "too large"),
        (
            "long name bomb",
            Tar::default().raw(b'L', b"p", b"", b"", |h| h.set_size(1 << 33)).end(),
            "too large",
        ),
        ("zero byte", Tar::default().pax(&[("path", b"a\0b")]).file("x", b"").end(), "bad path"),
        ("endless name", Tar::default().pax(&[("path", &[b'a'; 5000])]).file("x", b"").end(), "bad path"),
        ("long component", Tar::default().pax(&[("path", &[b'a'; 300])]).file("x", b"").end(), "too long"),
        ("too deep", Tar::default().pax(&[("path", &b"a/".repeat(300))]).directory("x", 0).end(), "too deep"),
        ("device bomb", bombs, "device nodes"),
        ("empty whiteout", Tar::default().file(".wh.", b"").end(), "bad whiteout"),
        ("whiteout climbs", Tar::default().file("a/.wh...", b"").end(), "bad whiteout"),
        ("unknown type", Tar::default().raw(b'M', b"x", b"", b"", |_| {}).end(), "unhandled"),
        ("not a tar", vec![7; 4096], "not a tar archive"),
        (
            "bad checksum",
            {
                let mut t = Tar::default().file("f", b"").end();
                t[0] = b'g';
                t
            },
            "checksum",
        ),
        ("extension at the end", Tar::default().pax(&[("path", b"x")]).end(), "ends after"),
        ("user id", Tar::default().pax(&[("uid", b"99999999999")]).file("x", b"").end(), "uid"),
        (
            "sparse lies",
            Tar::default()
                .pax(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"0,99")])
                .file("x", b"12")
                .end(),
            "sparse",
        ),
        ("garbage behind", [Tar::default().end(), vec![1; 65 << 20]].concat(), "behind the end"),
    ];
    for (name, archive, reason) in table {
        let scratch = Scratch::new();
        let error = scratch.unpack(&archive).expect_err(name).to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
}

#[test]
fn symlinks_lead_into_the_layer_only() {
    let scratch = Scratch::new();
    let archive = Tar::default()
        .directory("etc", 0o755)
        .symlink("abs", "/etc")
        .file("abs/passwd", b"inside")
        .symlink("a", "b")
        .directory("b", 0o755)
        .file("a/x", b"1")
        // A symlink in place of a directory that was cached as the last parent.
        .file("b/y", b"2")
        .symlink("b", "/etc")
        .file("b/z", b"3")
        .end();
    scratch.unpack(&archive).unwrap();
    assert_eq!(fs::read(scratch.path("etc/passwd")).unwrap(), b"inside");
    assert_eq!(fs::read(scratch.path("etc/z")).unwrap(), b"3");
    assert!(!scratch.path("etc/x").exists());
}

#[test]
fn metadata_is_kept() {
    let scratch = Scratch::new();
    let archive = Tar::default()
        .raw(b'5', b"d/", b"", b"", |header| (header.set_mode(0o1777), header.set_mtime(42)).0)
        .pax(&[("mtime", b"12.5"), ("SCHILY.xattr.user.k", b"v\n1")])
        .raw(b'0', b"d/f", b"", b"data", |header| header.set_mode(0o4755))
        .link("hard", "d/f")
        .raw(b'6', b"fifo", b"", b"", |_| {})
        .raw(b'0', b"n\xff\xfe", b"", b"x", |_| {})
        .raw(b'L', b"long", b"", &[b"deep/".as_slice(), &[b'n'; 200], b"\0"].concat(), |_| {})
        .file("cut", b"long")
        .end();
    let unpacked = scratch.unpack(&archive).unwrap();
    assert_eq!(unpacked.size, 9);
    assert_eq!(unpacked.implied, [b"".to_vec(), b"deep".to_vec()]);
    let file = scratch.path("d/f").metadata().unwrap();
    assert_eq!((file.mode() & 0o7777, file.mtime(), file.mtime_nsec()), (0o4755, 12, 500_000_000));
    assert_eq!(file.ino(), scratch.path("hard").metadata().unwrap().ino());
    let directory = scratch.path("d").metadata().unwrap();
    assert_eq!((directory.mode() & 0o7777, directory.mtime()), (0o1777, 42));
    assert!(scratch.path("fifo").metadata().unwrap().file_type().is_fifo());
    assert_eq!(fs::read(scratch.path(&format!("deep/{}", "n".repeat(200)))).unwrap(), b"long");
    match xattr::get(scratch.path("d/f"), "user.k") {
        Ok(value) => assert_eq!(value.unwrap(), b"v\n1"),
        Err(error) => println!("skipped: xattrs: {error}"),
    }
}

#[test]
fn owners_capabilities_and_devices_are_kept() {
    if !root() {
        println!("skipped: only root can give files away and make devices");
        return;
    }
    let scratch = Scratch::new();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records: [(&str, &[u8]); 3] = [
        ("SCHILY.xattr.security.capability", &capability),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/secret"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
    ];
    let archive = Tar::default()
        .pax(&records)
        .raw(b'0', b"ping", b"", b"x", |header| {
            (header.set_uid(1000), header.set_gid(1001), header.set_mode(0o755)).0
        })
        .device("null", 1, 3)
        .symlink("link", "ping")
        .end();
    scratch.unpack(&archive).unwrap();
    let file = scratch.path("ping").metadata().unwrap();
    assert_eq!((file.uid(), file.gid()), (1000, 1001));
    let names: Vec<_> = xattr::list(scratch.path("ping")).unwrap().collect();
    assert_eq!(names, ["security.capability"]);
    assert_eq!(xattr::get(scratch.path("ping"), "security.capability").unwrap().unwrap(), capability);
    let device = scratch.path("null").metadata().unwrap();
    assert!(device.file_type().is_char_device());
    assert_eq!(device.rdev(), rustix::fs::makedev(1, 3));
}

#[test]
fn whiteouts_become_overlays() {
    let scratch = Scratch::new();
    let archive = Tar::default()
        .file("a/.wh.gone", b"")
        .directory("b", 0o755)
        .file("b/.wh..wh..opq", b"")
        // Deleted and created again in the same layer, in both orders.
        .file(".wh.again", b"")
        .directory("again", 0o700)
        .directory("twice", 0o700)
        .file(".wh.twice", b"")
        .file(".wh..wh.plnk/1.2", b"")
        .end();
    scratch.unpack(&archive).unwrap();
    let gone = scratch.path("a/gone").symlink_metadata().unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert!(!scratch.path(".wh..wh.plnk").exists());
    let opaque = if root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
    for name in ["b", "again", "twice"] {
        assert!(scratch.path(name).is_dir(), "{name}");
        match xattr::get(scratch.path(name), opaque) {
            Ok(value) => assert_eq!(value.as_deref(), Some(b"y".as_slice()), "{name}"),
            Err(error) => println!("skipped: xattrs: {error}"),
        }
    }
}

#[test]
fn entries_replace_each_other() {
    let scratch = Scratch::new();
    let archive = Tar::default()
        .directory("d", 0o755)
        .file("d/sub/f", b"1")
        .file("d", b"file now")
        .file("f", b"1")
        .link("f2", "f")
        .file("f", b"2")
        .directory("f2", 0o755)
        .end();
    scratch.unpack(&archive).unwrap();
    assert_eq!(fs::read(scratch.path("d")).unwrap(), b"file now");
    assert_eq!(fs::read(scratch.path("f")).unwrap(), b"2");
    assert!(scratch.path("f2").is_dir());
}

#[test]
fn holes_stay_holes() {
    let size = 64 << 20;
    let number = size.to_string();
    let offset = (32 << 20).to_string();
    let data = [1; 512];
    let map = format!("0,512,{offset},512");
    let two = [data, data].concat();
    let lines = {
        let mut lines = format!("2\n0\n512\n{offset}\n512\n").into_bytes();
        lines.resize(512, 0);
        [lines, two.clone()].concat()
    };
    let gnu = |header: &mut tar::Header| {
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(size);
        gnu.sparse[0].set_offset(0);
        gnu.sparse[0].set_length(512);
        gnu.sparse[1].set_offset(32 << 20);
        gnu.sparse[1].set_length(512);
    };
    let text = |text: &'static str| text.as_bytes();
    let archive = Tar::default()
        .raw(b'S', b"gnu", b"", &two, gnu)
        .pax(&[
            ("GNU.sparse.size", number.as_bytes()),
            ("GNU.sparse.offset", text("0")),
            ("GNU.sparse.numbytes", text("512")),
            ("GNU.sparse.offset", offset.as_bytes()),
            ("GNU.sparse.numbytes", text("512")),
        ])
        .file("pax00", &two)
        .pax(&[
            ("GNU.sparse.size", number.as_bytes()),
            ("GNU.sparse.map", map.as_bytes()),
            ("GNU.sparse.name", b"pax01"),
        ])
        .file("other", &two)
        .pax(&[
            ("GNU.sparse.major", text("1")),
            ("GNU.sparse.minor", text("0")),
            ("GNU.sparse.realsize", number.as_bytes()),
            ("GNU.sparse.name", b"pax10"),
        ])
        .file("other", &lines)
        .file("after", b"after")
        .end();
    let scratch = Scratch::new();
    let unpacked = scratch.unpack(&archive).unwrap();
    assert!(unpacked.sparse);
    for name in ["gnu", "pax00", "pax01", "pax10"] {
        let meta = scratch.path(name).metadata().unwrap();
        assert_eq!(meta.len(), size, "{name}");
        assert!(meta.blocks() * 512 < size / 2, "{name} lost its holes");
        let content = fs::read(scratch.path(name)).unwrap();
        assert_eq!((content[511], content[512], content[(32 << 20) + 511]), (1, 0, 1), "{name}");
    }
    assert_eq!(fs::read(scratch.path("after")).unwrap(), b"after");
}

#[test]
fn implied_directories_look_like_the_ones_below() {
    let below = TempDir::new().unwrap();
    fs::create_dir_all(below.path().join("tmp/private")).unwrap();
    fs::set_permissions(below.path().join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(below.path().join("tmp/private"), fs::Permissions::from_mode(0o700)).unwrap();
    let scratch = Scratch::new();
    let unpacked =
        scratch.unpack(&Tar::default().file("tmp/private/x", b"").file("new/x", b"").end()).unwrap();
    settle(&scratch.layer(), &unpacked.implied, &[below.path().to_owned()]).unwrap();
    let mode = |name: &str| scratch.path(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("tmp"), mode("tmp/private"), mode("new")), (0o1777, 0o700, 0o755));
}

#[test]
fn a_cancelled_unpack_says_so() {
    let scratch = Scratch::new();
    let archive = Tar::default().file("x", b"").end();
    assert!(matches!(unpack(&archive[..], &scratch.layer(), &|| true), Err(Error::Cancelled)));
}

fn fuzz(data: &[u8]) {
    let scratch = TempDir::new().unwrap();
    crate::fuzz_unpack(data, scratch.path());
    // Nothing may get in the way of cleaning up either.
    fs::set_permissions(scratch.path().join("inside"), fs::Permissions::from_mode(0o700)).unwrap();
    if root() {
        scratch.close().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..2048)) {
        fuzz(&data);
    }

    #[test]
    fn any_entries_are_survived(
        entries in proptest::collection::vec(
            ("[012356x]", "(\\.\\./|/|a/|b/|\\.wh\\.|s){0,6}[abs]?", "(\\.\\./|/|a/|s/){0,4}[abs]?", 0..600_usize), 0..12),
    ) {
        let tar = entries.iter().fold(Tar::default(), |tar, (kind, name, link, size)| {
            tar.raw(kind.as_bytes()[0], name.as_bytes(), link.as_bytes(), &vec![b'x'; *size], |_| {})
        });
        fuzz(&tar.end());
    }
}
