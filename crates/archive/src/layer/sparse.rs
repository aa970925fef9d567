//! Files with holes, in PAX's format 1.0: a map of what is there, as decimal lines padded to a block, then that.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;

use super::digest::{Hasher, SECTOR};

/// Most pieces: a file of more is written whole.
const MAX_EXTENTS: usize = 1 << 15;

/// Bytes that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub offset: u64,
    pub length: u64,
}

/// A file's pieces; `None` when it has no holes to speak of.
pub(super) fn extents(file: &File, stat: &Stat) -> io::Result<Option<Vec<Extent>>> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let allocated = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if allocated >= size {
        return Ok(None);
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(offset) => offset,
            // No more data.
            Err(Errno::NXIO) => break,
            // A file system that does not tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                rustix::fs::seek(file, SeekFrom::Start(0))?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if offset >= size {
            break;
        }
        let end = rustix::fs::seek(file, SeekFrom::Hole(offset))?.min(size);
        found.push(Extent { offset, length: end - offset });
        at = end;
        let odd = offset % SECTOR != 0 || (end % SECTOR != 0 && end != size);
        if odd || found.len() > MAX_EXTENTS {
            rustix::fs::seek(file, SeekFrom::Start(0))?;
            return Ok(None);
        }
    }
    if found == [Extent { offset: 0, length: size }] {
        rustix::fs::seek(file, SeekFrom::Start(0))?;
        return Ok(None);
    }
    Ok(Some(found))
}

/// The map. One without pieces has an empty one at the end, as GNU tar writes it.
pub(super) fn write_map(extents: &[Extent], size: u64) -> Vec<u8> {
    let empty = [Extent { offset: size, length: 0 }];
    let extents = if extents.is_empty() { &empty[..] } else { extents };
    let mut text = format!("{}\n", extents.len());
    for extent in extents {
        text += &format!("{}\n{}\n", extent.offset, extent.length);
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(512), 0);
    map
}

/// Reads a map that [`write_map`] has written.
pub(crate) fn read_map(reader: &mut impl Read, size: u64) -> io::Result<Vec<Extent>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "a sparse file's map is damaged");
    let (mut block, mut next) = ([0; 512], 512);
    let mut number = || -> io::Result<u64> {
        let mut value: Option<u64> = None;
        loop {
            if next == block.len() {
                reader.read_exact(&mut block)?;
                next = 0;
            }
            let byte = block[next];
            next += 1;
            match byte {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    let more = value.unwrap_or(0).checked_mul(10).and_then(|value| value.checked_add(digit));
                    value = Some(more.ok_or_else(bad)?);
                }
                b'\n' => return value.ok_or_else(bad),
                _ => return Err(bad()),
            }
        }
    };
    let count = usize::try_from(number()?).map_err(|_large| bad())?;
    if count > MAX_EXTENTS + 1 {
        return Err(bad());
    }
    let mut extents = Vec::new();
    let mut end = 0_u64;
    for _ in 0..count {
        let extent = Extent { offset: number()?, length: number()? };
        if extent.offset < end {
            return Err(bad());
        }
        end = extent.offset.checked_add(extent.length).filter(|end| *end <= size).ok_or_else(bad)?;
        extents.push(extent);
    }
    Ok(extents)
}

/// A file's pieces, one after the other; a file that has become shorter goes on with zeroes.
pub(super) struct Extents<'a> {
    file: &'a File,
    extents: &'a [Extent],
    hasher: &'a mut Hasher,
    done: u64,
}

impl<'a> Extents<'a> {
    pub(super) fn new(file: &'a File, extents: &'a [Extent], hasher: &'a mut Hasher) -> Self {
        Self { file, extents, hasher, done: 0 }
    }
}

impl Read for Extents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((extent, rest)) = self.extents.split_first() else { return Ok(0) };
        if self.done == extent.length {
            (self.extents, self.done) = (rest, 0);
            return self.read(buffer);
        }
        let left = usize::try_from(extent.length - self.done).unwrap_or(usize::MAX);
        let room = left.min(buffer.len());
        let part = &mut buffer[..room];
        let at = extent.offset + self.done;
        let count = match self.file.read_at(part, at)? {
            0 => {
                part.fill(0);
                room
            }
            count => count,
        };
        self.hasher.content(at, &part[..count]);
        self.done += count as u64;
        Ok(count)
    }
}
