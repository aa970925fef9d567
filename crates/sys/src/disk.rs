//! Copying a sparse file, by sharing its blocks where the file system can; which disks a block device lies on.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// How a copy was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// Both files share their blocks until one is written.
    Shared,
    /// The data was copied, the holes were kept.
    Data,
}

/// Copies `from` to the new file `to`, readable and writable by its owner only. A failed copy leaves nothing.
pub fn copy_sparse(from: &Path, to: &Path) -> io::Result<Copied> {
    let source = File::open(from)?;
    let target = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(to)?;
    let result = copy_file(&source, &target);
    if result.is_err() {
        let _ = std::fs::remove_file(to);
    }
    result
}

fn copy_file(source: &File, target: &File) -> io::Result<Copied> {
    match rustix::fs::ioctl_ficlone(target, source) {
        Ok(()) => return Ok(Copied::Shared),
        // Another file system, or one that cannot.
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    target.set_len(source.metadata()?.len())?;
    for extent in data_extents(source)? {
        copy_range(source, target, extent.start, extent.end)?;
    }
    Ok(Copied::Data)
}

/// Where a file has data, in order; the rest of it is holes.
pub fn data_extents(file: &File) -> io::Result<Vec<Range<u64>>> {
    let length = file.metadata()?.len();
    let (mut extents, mut at) = (Vec::new(), 0);
    while at < length {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(length);
        extents.push(start..end);
        at = end;
    }
    Ok(extents)
}

fn copy_range(source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut from, mut to) = (start, start);
    while from < end {
        let left = usize::try_from(end - from).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), left) {
            // The file shrank meanwhile.
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return copy_through_memory(source, target, from, end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_through_memory(source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; 128 * 1024];
    let mut at = start;
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = source.read_at(&mut buffer[..want], at)?;
        if read == 0 {
            return Ok(());
        }
        target.write_all_at(&buffer[..read], at)?;
        at += u64::try_from(read).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Whether the block device `device` (major and minor number) is `disk`, a part of it, or made of it, as the kernel tells in
/// `/sys/dev/block`.
#[must_use]
pub fn lies_on(device: (u32, u32), disk: (u32, u32)) -> bool {
    lies_on_in(
        Path::new("/sys/dev/block"),
        &format!("{}:{}", device.0, device.1),
        &format!("{}:{}", disk.0, disk.1),
    )
}

fn lies_on_in(blocks: &Path, device: &str, disk: &str) -> bool {
    let number = |directory: &Path| std::fs::read_to_string(directory.join("dev")).unwrap_or_default();
    let mut pending = vec![device.to_owned()];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(next) = pending.pop().filter(|next| !next.is_empty()) {
        if next == disk {
            return true;
        }
        if !seen.insert(next.clone()) {
            continue;
        }
        let directory = blocks.join(&next);
        // A partition's disk is the directory above it; what a mapped device is made of is listed.
        if directory.join("partition").exists()
            && let Some(above) = std::fs::canonicalize(&directory).ok().as_deref().and_then(Path::parent)
        {
            pending.push(number(above).trim().to_owned());
        }
        let slaves = std::fs::read_dir(directory.join("slaves")).into_iter().flatten().flatten();
        pending.extend(slaves.map(|slave| number(&slave.path()).trim().to_owned()));
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn holes_stay_holes() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        file.write_all_at(b"middle", 20 << 20).unwrap();
        copy_sparse(&from, &to).unwrap();
        let copy = File::open(&to).unwrap();
        let metadata = copy.metadata().unwrap();
        assert_eq!(metadata.len(), 64 << 20);
        assert!(metadata.blocks() * 512 < 4 << 20, "{} blocks", metadata.blocks());
        let mut text = [0; 6];
        copy.read_exact_at(&mut text, 20 << 20).unwrap();
        assert_eq!(&text, b"middle");
        assert_eq!(copy_sparse(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn the_plain_loop_copies_too() {
        let root = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
        std::fs::write(root.path().join("from"), &bytes).unwrap();
        let target = File::create(root.path().join("to")).unwrap();
        copy_through_memory(&File::open(root.path().join("from")).unwrap(), &target, 0, 300_000).unwrap();
        assert_eq!(std::fs::read(root.path().join("to")).unwrap(), bytes);
    }

    #[test]
    fn an_empty_file_and_one_of_holes_only() {
        let root = tempfile::tempdir().unwrap();
        for length in [0, 1 << 20] {
            let (from, to) = (root.path().join(format!("f{length}")), root.path().join(format!("t{length}")));
            File::create(&from).unwrap().set_len(length).unwrap();
            copy_sparse(&from, &to).unwrap();
            assert_eq!(to.metadata().unwrap().len(), length);
        }
    }

    #[test]
    fn what_a_device_lies_on_is_found_through_partitions_and_maps() {
        let root = tempfile::tempdir().unwrap();
        let blocks = root.path().join("dev");
        std::fs::create_dir_all(&blocks).unwrap();
        let device = |place: &str, number: &str| {
            let directory = root.path().join(place);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("dev"), format!("{number}\n")).unwrap();
            std::os::unix::fs::symlink(&directory, blocks.join(number)).unwrap();
            directory
        };
        let disk = device("sda", "8:0");
        let partition = device("sda/sda1", "8:1");
        std::fs::write(partition.join("partition"), "1\n").unwrap();
        let mapped = device("dm-0", "253:0");
        std::fs::create_dir_all(mapped.join("slaves")).unwrap();
        std::os::unix::fs::symlink(&partition, mapped.join("slaves/sda1")).unwrap();
        device("sdb", "8:16");
        assert!(disk.exists());
        for device in ["8:0", "8:1", "253:0"] {
            assert!(lies_on_in(&blocks, device, "8:0"), "{device}");
        }
        assert!(lies_on_in(&blocks, "253:0", "8:1"));
        for (device, disk) in [("8:16", "8:0"), ("8:0", "8:1"), ("0:25", "8:0"), ("253:0", "8:16")] {
            assert!(!lies_on_in(&blocks, device, disk), "{device} on {disk}");
        }
    }
}
