//! Writing a file's data, holes kept.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::Error;
use crate::archive::{Entry, Extent, Reader};
use crate::error::IoContext;

use super::limits::Budget;

const BUFFER: usize = 256 << 10;

thread_local! {
    /// One buffer a thread: most files are smaller than clearing a new one costs.
    static BUFFERS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes the data of `entry` to the new file.
pub(super) fn data<R: Read>(
    mut file: &File,
    entry: &Entry,
    sparse: Option<&[Extent]>,
    reader: &mut Reader<R>,
    budget: &mut Budget,
) -> Result<(), Error> {
    let whole = [Extent { offset: 0, length: entry.size }];
    let here = Path::new("");
    for extent in sparse.unwrap_or(&whole) {
        if extent.offset > 0 {
            file.seek(SeekFrom::Start(extent.offset)).at(here)?;
        }
        copy(file, extent.length, reader, budget)?;
    }
    if sparse.is_some() {
        file.set_len(entry.size).at(here)?;
    }
    Ok(())
}

fn copy<R: Read>(
    mut file: &File,
    mut left: u64,
    reader: &mut Reader<R>,
    budget: &mut Budget,
) -> Result<(), Error> {
    BUFFERS.with_borrow_mut(|buffer| {
        buffer.resize(BUFFER, 0);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let n = reader.read_data(&mut buffer[..want])?;
            if n == 0 {
                return Err(Error::Archive("file is shorter than its extents".into()));
            }
            budget.spend(n)?;
            file.write_all(&buffer[..n]).at(Path::new(""))?;
            left -= n as u64;
        }
        Ok(())
    })
}
