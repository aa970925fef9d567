//! Older files, compressed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use flate2::{Compression, GzBuilder};
use rustix::fs::FlockOperation;

use crate::Files;

/// Compresses every older file that is not. Nobody else may rename them meanwhile. Blocking.
pub(crate) fn compress(files: &Files) -> io::Result<()> {
    for (number, _) in files.older()?.into_iter().filter(|(_, form)| form.plain) {
        compress_one(files, number)?;
    }
    Ok(())
}

fn compress_one(files: &Files, number: u32) -> io::Result<()> {
    let (from, to, scratch) = (files.plain(number), files.compressed(number), files.scratch());
    let mut plain = File::open(&from)?;
    let output = File::options().write(true).create(true).truncate(true).mode(0o640).open(&scratch)?;
    // What it was, for those who have it open.
    let builder = GzBuilder::new().comment(plain.metadata()?.ino().to_string());
    let mut encoder = builder.write(output, Compression::fast());
    io::copy(&mut plain, &mut encoder)?;
    // Its name must not be there before its content, which has no other place afterwards.
    encoder.finish()?.sync_data()?;
    let _lock = files.lock(FlockOperation::NonBlockingLockExclusive)?;
    std::fs::rename(&scratch, &to)?;
    std::fs::remove_file(&from)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::MultiGzDecoder;

    use super::*;

    #[test]
    fn a_compressed_file_says_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::at(directory.path().join("log"));
        std::fs::write(files.current(), "text").unwrap();
        let before = files.open(None).unwrap()[0].identity;
        files.rotate(3).unwrap();
        // An earlier compression came as far as this.
        std::fs::write(files.compressed(1), "half").unwrap();
        compress(&files).unwrap();
        let mut sources = files.open(None).unwrap();
        let old = sources.remove(0);
        assert!(old.compressed && !files.plain(1).exists() && !files.scratch().exists());
        assert_eq!(old.identity, before);
        let mut text = String::new();
        MultiGzDecoder::new(old.file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
    }
}
