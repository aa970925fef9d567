//! Extended attributes: those that belong to the file, and overlayfs's own.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::io::Errno;

use super::named;

/// What a file has.
#[derive(Default)]
pub(super) struct Found {
    /// Sorted by name.
    pub carried: Vec<(String, Vec<u8>)>,
    /// Whether overlayfs hides what is below it.
    pub opaque: bool,
}

const OVERLAY: &str = "trusted.overlay.";
/// The kernel's limits on the list and on a value.
const LONGEST: usize = 64 << 10;

/// Whether an attribute goes with its file: the user's, access control lists, capabilities, and root's. Labels of
/// security modules are those of a host and its policy.
pub(crate) fn is_carried(name: &str) -> bool {
    let root = name.starts_with("trusted.") && !name.starts_with(OVERLAY);
    let acl = matches!(name, "system.posix_acl_access" | "system.posix_acl_default");
    root || acl || name.starts_with("user.") || name == "security.capability"
}

/// Of one name, without following it. An attribute that could not go along is an error.
pub(super) fn read(at: &OwnedFd, file: &OsStr, shown: &[u8]) -> io::Result<Found> {
    let path = [format!("/proc/self/fd/{}/", at.as_raw_fd()).as_bytes(), file.as_bytes()].concat();
    let path = OsStr::from_bytes(&path);
    let mut list = vec![0; LONGEST];
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = Found::default();
    let mut buffer = Vec::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let bad = || named(shown, "an extended attribute's name cannot be in an archive");
        let name = std::str::from_utf8(name).map_err(|_binary| bad())?;
        let own = name.strip_prefix(OVERLAY);
        if matches!(own, Some("redirect" | "metacopy")) {
            return Err(named(
                shown,
                "it is in a layer below: the overlay was mounted with redirect_dir or metacopy",
            ));
        }
        if own != Some("opaque") && !is_carried(name) {
            continue;
        }
        if name.contains('=') {
            return Err(bad());
        }
        buffer.resize(LONGEST, 0);
        let value = match rustix::fs::lgetxattr(path, name, &mut buffer[..]) {
            Ok(length) => buffer[..length].to_vec(),
            // It was removed meanwhile; or it is root's, and we are not.
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(error.into()),
        };
        if own.is_some() {
            found.opaque = value == b"y";
        } else {
            found.carried.push((name.to_owned(), value));
        }
    }
    found.carried.sort();
    Ok(found)
}
