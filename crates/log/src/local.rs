//! The compact format of the driver `local`. A record is framed by its length on both sides, so that it can be found
//! from either end of a file:
//!
//! ```text
//! length u32 │ time i64 (Unix, ns) │ stream u8 │ attributes' length u32 │ attributes (JSON) │ line │ length u32
//! ```
//!
//! Numbers are big-endian; the length is what lies between the two.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::{Buf as _, BytesMut};
use jiff::Timestamp;

use crate::format::{LONGEST, Taken};
use crate::{Record, Stream};

/// Time, stream and the attributes' length.
const HEAD: usize = 8 + 1 + 4;
/// Both lengths.
const FRAME: usize = 8;

pub(crate) fn encode(stream: Stream, time: Timestamp, line: &[u8], attributes: &str, output: &mut Vec<u8>) {
    let length = HEAD + attributes.len() + line.len();
    let (Ok(total), Ok(own)) = (u32::try_from(length), u32::try_from(attributes.len())) else { return };
    let time = i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
    output.extend_from_slice(&total.to_be_bytes());
    output.extend_from_slice(&time.to_be_bytes());
    output.push(u8::from(stream == Stream::Stderr));
    output.extend_from_slice(&own.to_be_bytes());
    output.extend_from_slice(attributes.as_bytes());
    output.extend_from_slice(line);
    output.extend_from_slice(&total.to_be_bytes());
}

/// The length that a record says it has, if a record can have it.
fn length(bytes: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(bytes)).ok().filter(|length| (HEAD..=LONGEST).contains(length))
}

pub(crate) fn take(input: &mut BytesMut) -> Taken {
    let Some(first) = input.first_chunk().copied() else { return Taken::Incomplete };
    let Some(length) = length(first) else { return Taken::Broken };
    if input.len() < length + FRAME {
        return Taken::Incomplete;
    }
    let mut record = input.split_to(length + FRAME);
    if record[length + 4..] != first {
        return Taken::Broken;
    }
    record.advance(4);
    record.truncate(length);
    decode(record).map_or(Taken::Skipped, Taken::Record)
}

fn decode(mut record: BytesMut) -> Option<Record> {
    let time = Timestamp::from_nanosecond(record.get_i64().into()).ok()?;
    let stream = if record.get_u8() == 1 { Stream::Stderr } else { Stream::Stdout };
    let own = usize::try_from(record.get_u32()).ok().filter(|own| *own <= record.len())?;
    let attributes = match own {
        0 => Default::default(),
        _ => serde_json::from_slice(&record[..own]).ok()?,
    };
    Some(Record { stream, time, text: record[own..].to_vec(), attributes })
}

/// Where the record that ends at `end` begins; `None` when none does.
pub(crate) fn before(file: &mut (impl Read + Seek), end: u64) -> io::Result<Option<u64>> {
    let mut number = [0; 4];
    if end < FRAME as u64 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(end - 4))?;
    file.read_exact(&mut number)?;
    let last = number;
    let Some(start) = length(last).and_then(|length| end.checked_sub((length + FRAME) as u64)) else {
        return Ok(None);
    };
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut number)?;
    Ok((number == last).then_some(start))
}

/// Where the last whole record ends, counted from the file's begin.
pub(crate) fn whole(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    let (mut end, mut number) = (0, [0; 4]);
    while size - end >= FRAME as u64 {
        file.seek(SeekFrom::Start(end))?;
        file.read_exact(&mut number)?;
        let first = number;
        let next = length(first).map(|length| end + (length + FRAME) as u64);
        let Some(next) = next.filter(|next| *next <= size) else { break };
        file.seek(SeekFrom::Start(next - 4))?;
        file.read_exact(&mut number)?;
        if number != first {
            break;
        }
        end = next;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        let time = "2026-01-02T03:04:05.600000007Z".parse().unwrap();
        let mut output = Vec::new();
        encode(Stream::Stderr, time, b"\xff\0\n", r#"{"a":"b"}"#, &mut output);
        encode(Stream::Stdout, time, b"", "", &mut output);
        let mut input = BytesMut::from(&output[..]);
        let Taken::Record(first) = take(&mut input) else { panic!("no record") };
        assert_eq!((first.stream, first.time, first.text), (Stream::Stderr, time, b"\xff\0\n".to_vec()));
        assert_eq!(first.attributes["a"], "b");
        let Taken::Record(second) = take(&mut input) else { panic!("no second record") };
        assert_eq!((second.stream, second.text.len()), (Stream::Stdout, 0));
        assert_eq!(take(&mut input), Taken::Incomplete);
    }

    #[test]
    fn nonsense_is_not_a_record() {
        for bytes in [&[0xff; 64][..], &[0; 64]] {
            assert_eq!(take(&mut BytesMut::from(bytes)), Taken::Broken);
        }
        // Lengths that disagree.
        let mut output = Vec::new();
        encode(Stream::Stdout, Timestamp::UNIX_EPOCH, b"x\n", "", &mut output);
        *output.last_mut().unwrap() ^= 1;
        assert_eq!(take(&mut BytesMut::from(&output[..])), Taken::Broken);
    }
}
