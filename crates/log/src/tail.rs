//! Finding the last records of a file.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::BytesMut;

use crate::{Format, Taken, local};

const BLOCK: u64 = 32 << 10;

/// Where the last `lines` records begin, and how many there are: fewer when the file has no more. What is not whole yet
/// at its end does not count.
pub fn start_of_last(
    file: &mut (impl Read + Seek),
    format: Format,
    lines: usize,
) -> io::Result<(u64, usize)> {
    match format {
        Format::Json => lines_of(file, lines),
        Format::Local => {
            let size = file.seek(SeekFrom::End(0))?;
            let end = match local::before(file, size)? {
                Some(_) => size,
                // Torn at its end, or being written: from the begin, then.
                None => local::whole(file)?,
            };
            let (mut start, mut found) = (end, 0);
            while found < lines {
                let Some(before) = local::before(file, start)? else { break };
                (start, found) = (before, found + 1);
            }
            Ok((start, found))
        }
    }
}

fn lines_of(file: &mut (impl Read + Seek), lines: usize) -> io::Result<(u64, usize)> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut newlines = 0;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.resize(usize::try_from(end - start).unwrap_or(0), 0);
        file.read_exact(&mut block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The newline that ends the line before the wanted ones.
            if newlines == lines {
                return Ok((start + index as u64 + 1, lines));
            }
            newlines += 1;
        }
        end = start;
    }
    Ok((0, newlines))
}

/// How many records there are to be read.
pub fn count(mut file: impl Read, format: Format) -> io::Result<usize> {
    let (mut input, mut piece, mut found) = (BytesMut::new(), vec![0; 64 << 10], 0);
    loop {
        let read = file.read(&mut piece)?;
        input.extend_from_slice(&piece[..read]);
        loop {
            match format.take(&mut input) {
                Taken::Record(_) | Taken::Skipped => found += 1,
                Taken::Incomplete => break,
                Taken::Broken => return Ok(found),
            }
        }
        if read == 0 {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use jiff::Timestamp;

    use super::*;
    use crate::Stream;

    #[test]
    fn the_last_ones_are_found_behind_a_torn_end() {
        for format in [Format::Json, Format::Local] {
            let mut bytes = Vec::new();
            let mut starts = Vec::new();
            for number in 0..3000 {
                starts.push(bytes.len() as u64);
                let line = format!("line {number}\n");
                format.encode(Stream::Stdout, Timestamp::UNIX_EPOCH, line.as_bytes(), None, &mut bytes);
            }
            let whole = bytes.len() as u64;
            for torn in [0, 3, 20] {
                bytes.truncate(usize::try_from(whole).unwrap());
                let more = bytes[..torn].to_vec();
                bytes.extend(more);
                let last = |lines| start_of_last(&mut Cursor::new(&bytes), format, lines).unwrap();
                assert_eq!(last(0), (whole, 0), "{format:?} {torn}");
                assert_eq!(last(1), (starts[2999], 1), "{format:?} {torn}");
                assert_eq!(last(2500), (starts[500], 2500), "{format:?} {torn}");
                assert_eq!(last(5000), (0, 3000), "{format:?} {torn}");
                assert_eq!(count(&bytes[..], format).unwrap(), 3000);
            }
        }
    }
}
