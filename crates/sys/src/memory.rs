//! Mapping files.

use std::fs::File;
use std::io;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

const PAGE: usize = 4096;

/// Maps the first `length` bytes of a file privately, as a program's loader does, reads each page and writes the first.
/// `length` must be within the file.
pub fn touch(file: &File, length: usize) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at a place that the kernel chooses.
    let start = unsafe { mmap(std::ptr::null_mut(), length, protection, MapFlags::PRIVATE, file, 0)? };
    let bytes = start.cast::<u8>();
    for offset in (0..length).step_by(PAGE) {
        // SAFETY: within the mapping. A file that shrinks meanwhile ends this process, as it would a program.
        unsafe { bytes.add(offset).read_volatile() };
    }
    // SAFETY: within the mapping, whose pages are this process's own; nobody else has the mapping.
    unsafe {
        bytes.write_volatile(0);
        munmap(start, length)?;
    }
    Ok(())
}
