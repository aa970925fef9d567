//! SHA-256 of a sparse file: of its data and of where that lies, so that holes need not be read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cofferdam_sys::disk::data_extents;
use sha2::{Digest as _, Sha256};

/// The digest in hexadecimal. Two files with the same bytes may have different digests, when one stores zeroes and the
/// other has holes; a file that was not touched keeps its own.
pub(super) fn of(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let mut digest = Sha256::new();
    digest.update(file.metadata()?.len().to_le_bytes());
    let mut buffer = vec![0; 256 << 10];
    for extent in data_extents(&file)? {
        digest.update(extent.start.to_le_bytes());
        digest.update(extent.end.to_le_bytes());
        let mut at = extent.start;
        while at < extent.end {
            let want = usize::try_from(extent.end - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read_at(&mut buffer[..want], at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            digest.update(&buffer[..read]);
            at += u64::try_from(read).map_err(io::Error::other)?;
        }
    }
    Ok(hex::encode(digest.finalize()))
}
