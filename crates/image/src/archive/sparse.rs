//! Sparse files: which parts of a file the archive holds.
//!
//! GNU tar writes them in four ways: type `S` with extents in header blocks (old GNU), and PAX 0.0 (one record pair
//! an extent), 0.1 (one record) and 1.0 (decimal lines before the data).

use std::io::Read;

use crate::Error;

use super::{BLOCK, MAX_EXTENTS};

/// Bytes of a file that the archive holds; the rest are holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub offset: u64,
    pub length: u64,
}

/// Appends an extent, which must follow the last one.
pub(super) fn push(map: &mut Vec<Extent>, extent: Extent) -> Result<(), Error> {
    let end = map.last().map_or(0, |last| last.offset + last.length);
    let overflows = extent.offset.checked_add(extent.length).is_none_or(|end| i64::try_from(end).is_err());
    if extent.offset < end || overflows {
        return Err(malformed("extents overlap or are out of range"));
    }
    if map.len() >= MAX_EXTENTS {
        return Err(malformed("too many extents"));
    }
    map.push(extent);
    Ok(())
}

/// Checks that the extents fit the file and add up to what the archive holds.
pub(super) fn check(map: &[Extent], real_size: u64, stored: u64) -> Result<(), Error> {
    let end = map.last().map_or(0, |last| last.offset + last.length);
    let sum: u64 = map.iter().map(|extent| extent.length).sum();
    if end > real_size || sum != stored {
        return Err(malformed("extents do not fit the sizes"));
    }
    Ok(())
}

/// PAX 0.1: `offset,length,offset,length…`.
pub(super) fn parse_list(text: &[u8]) -> Result<Vec<Extent>, Error> {
    let mut map = Vec::new();
    let mut numbers = text.split(|&b| b == b',').filter(|part| !part.is_empty());
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or_else(|| malformed("odd number of fields"))?;
        push(&mut map, Extent { offset: decimal(offset)?, length: decimal(length)? })?;
    }
    Ok(map)
}

/// PAX 1.0: the number of extents, then their offsets and lengths, one decimal a line, padded to a block.
/// Returns the map and how many bytes it took.
pub(super) fn read_lines(reader: &mut impl Read) -> Result<(Vec<Extent>, u64), Error> {
    let mut lines = Lines { reader, block: [0; 512], next: 512, taken: 0 };
    let count = lines.number()?;
    let mut map = Vec::new();
    for _ in 0..count {
        let (offset, length) = (lines.number()?, lines.number()?);
        push(&mut map, Extent { offset, length })?;
    }
    Ok((map, lines.taken))
}

struct Lines<'a, R> {
    reader: &'a mut R,
    block: [u8; 512],
    next: usize,
    taken: u64,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64, Error> {
        let mut digits = Vec::with_capacity(20);
        loop {
            if self.next == self.block.len() {
                self.reader.read_exact(&mut self.block).map_err(|_short| malformed("map is cut off"))?;
                self.next = 0;
                self.taken += BLOCK;
            }
            let byte = self.block[self.next];
            self.next += 1;
            match byte {
                b'\n' => return decimal(&digits),
                _ if digits.len() == 20 => return Err(malformed("number too long")),
                byte => digits.push(byte),
            }
        }
    }
}

fn decimal(text: &[u8]) -> Result<u64, Error> {
    super::pax::number(text)?.ok_or_else(|| malformed("missing number"))
}

/// Old GNU: extents in the header (4) and in extension blocks (21 each).
pub(super) fn read_gnu(header: &tar::GnuHeader, reader: &mut impl Read) -> Result<Vec<Extent>, Error> {
    let mut map = Vec::new();
    let mut add = |block: &tar::GnuSparseHeader| -> Result<(), Error> {
        if block.is_empty() {
            return Ok(());
        }
        let number = |field: std::io::Result<u64>| field.map_err(|_octal| malformed("bad number"));
        push(&mut map, Extent { offset: number(block.offset())?, length: number(block.length())? })
    };
    header.sparse.iter().try_for_each(&mut add)?;
    let mut more = header.is_extended();
    while more {
        let mut extension = tar::GnuExtSparseHeader::new();
        reader.read_exact(extension.as_mut_bytes()).map_err(|_short| malformed("extension is cut off"))?;
        extension.sparse.iter().try_for_each(&mut add)?;
        more = extension.is_extended();
        // An empty block that announces another one adds nothing and could go on for ever.
        if more && extension.sparse.iter().all(tar::GnuSparseHeader::is_empty) {
            return Err(malformed("empty extension"));
        }
    }
    Ok(map)
}

fn malformed(reason: &str) -> Error {
    Error::Archive(format!("sparse file: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_lines_say_the_same() {
        let expected = [Extent { offset: 0, length: 5 }, Extent { offset: 4096, length: 10 }];
        assert_eq!(parse_list(b"0,5,4096,10").unwrap(), expected);
        let mut lines = b"2\n0\n5\n4096\n10\n".to_vec();
        lines.resize(512, 0);
        let (map, taken) = read_lines(&mut lines.as_slice()).unwrap();
        assert_eq!((map.as_slice(), taken), (expected.as_slice(), 512));
        check(&map, 8192, 15).unwrap();
        assert!(check(&map, 4100, 15).is_err());
        assert!(check(&map, 8192, 16).is_err());
    }

    #[test]
    fn lies_are_refused() {
        assert!(parse_list(b"0,5,4,1").is_err(), "overlap");
        assert!(parse_list(b"18446744073709551615,2").is_err(), "overflow");
        assert!(parse_list(b"0").is_err(), "odd");
        let mut endless = b"99999999\n".to_vec();
        endless.resize(512, b'1');
        assert!(read_lines(&mut endless.as_slice()).is_err());
    }
}
