//! What a container has changed: its overlay's upper directory beside the layers below it. Every step opens one name
//! below a handle and follows no link.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cofferdam_model::{Change, ChangeKind};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The changes in `upper` over `lower` (topmost first), by path; `ignored` paths are left out with all below them.
pub fn changes(upper: &Path, lower: &[&Path], ignored: &[&str]) -> io::Result<Vec<Change>> {
    let open = |path: &Path| rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty());
    let lower = lower.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut found = Vec::new();
    walk(&open(upper)?, &lower, "", ignored, &mut found)?;
    Ok(found)
}

/// Says whether anything in this directory is a change.
fn walk(
    upper: &OwnedFd,
    lower: &[OwnedFd],
    place: &str,
    ignored: &[&str],
    found: &mut Vec<Change>,
) -> io::Result<bool> {
    let before = found.len();
    let mut names: Vec<OsString> = Vec::new();
    for entry in Dir::read_from(upper)? {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    for name in names {
        let path = format!("{place}/{}", name.to_string_lossy());
        if ignored.contains(&path.as_str()) {
            continue;
        }
        let stat = match rustix::fs::statat(upper, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // The container goes on meanwhile.
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let below = look_up(lower, &name)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            if below.is_some() {
                found.push(Change { kind: ChangeKind::Deleted, path });
            }
            continue;
        }
        let (there, parts) = below.map_or((None, Vec::new()), |(stat, parts)| (Some(stat), parts));
        let change = if there.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        if kind != FileType::Directory {
            found.push(Change { kind: change, path });
            continue;
        }
        let at = found.len();
        let open = rustix::fs::openat(upper, &name, DIRECTORY, Mode::empty())?;
        let inside = walk(&open, &parts, &path, ignored, found)?;
        // A directory is copied up with what is in it, which alone is no change of its own.
        if inside || there.is_none_or(|there| differs(&there, &stat)) {
            found.insert(at, Change { kind: change, path });
        }
    }
    Ok(found.len() > before)
}

fn differs(a: &Stat, b: &Stat) -> bool {
    (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid)
}

/// The topmost entry of that name in merged layers, with the directories that it consists of.
fn look_up(layers: &[OwnedFd], name: &OsStr) -> io::Result<Option<(Stat, Vec<OwnedFd>)>> {
    let mut found: Option<(Stat, Vec<OwnedFd>)> = None;
    for layer in layers {
        let stat = match rustix::fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
            Err(error) => return Err(error.into()),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
        if whiteout || (found.is_some() && kind != FileType::Directory) {
            break;
        }
        let (_, parts) = found.get_or_insert_with(|| (stat, Vec::new()));
        if kind != FileType::Directory {
            break;
        }
        let part = rustix::fs::openat(layer, name, DIRECTORY, Mode::empty())?;
        let mut value = [0_u8; 4];
        let opaque = rustix::fs::fgetxattr(&part, "trusted.overlay.opaque", &mut value[..])
            .is_ok_and(|length| length == 1 && value[0] == b'y');
        parts.push(part);
        if opaque {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn changes_are_dockers() {
        let base = tempfile::tempdir().unwrap();
        let (upper, lower) = (base.path().join("upper"), base.path().join("lower"));
        for directory in ["upper/etc", "upper/new/sub", "upper/same", "lower/etc", "lower/same"] {
            fs::create_dir_all(base.path().join(directory)).unwrap();
        }
        fs::write(upper.join("etc/passwd"), "changed").unwrap();
        fs::write(lower.join("etc/passwd"), "").unwrap();
        fs::write(upper.join("etc/hosts"), "").unwrap();
        fs::write(upper.join("new/sub/file"), "").unwrap();
        let seen = changes(&upper, &[&lower], &["/etc/hosts"]).unwrap();
        let seen: Vec<_> = seen.iter().map(|change| (change.kind, change.path.as_str())).collect();
        use ChangeKind::{Added, Modified};
        assert_eq!(
            seen,
            [
                (Modified, "/etc"),
                (Modified, "/etc/passwd"),
                (Added, "/new"),
                (Added, "/new/sub"),
                (Added, "/new/sub/file")
            ]
        );
    }
}
