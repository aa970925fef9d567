//! PAX extension records (POSIX.1-2001, "pax Extended Header"): `length key=value\n`, where the value may be binary.

use crate::Error;

use super::MAX_PATH;
use super::sparse::{self, Extent};

/// Most xattrs of one entry.
const MAX_XATTRS: usize = 256;

/// What the records of one entry say.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub linkpath: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: SparseRecords,
}

/// `GNU.sparse.*`: the PAX ways of writing sparse files.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub name: Option<Vec<u8>>,
    pub real_size: Option<u64>,
    pub major: Option<u64>,
    pub minor: Option<u64>,
    /// Formats 0.0 and 0.1: the map itself.
    pub map: Option<Vec<Extent>>,
    offset: Option<u64>,
}

impl Records {
    /// Reads the records of one extension header.
    pub(super) fn parse(mut data: &[u8]) -> Result<Self, Error> {
        let mut records = Self::default();
        // GNU tar pads with zero bytes at times.
        while !data.is_empty() && data[0] != 0 {
            let (key, value, rest) = split_record(data).ok_or_else(|| malformed("malformed record"))?;
            records.apply(key, value)?;
            data = rest;
        }
        Ok(records)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.linkpath = text(value)?,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" => self.mtime = time(value)?,
            b"GNU.sparse.name" => self.sparse.name = text(value)?,
            b"GNU.sparse.major" => self.sparse.major = number(value)?,
            b"GNU.sparse.minor" => self.sparse.minor = number(value)?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = number(value)?,
            b"GNU.sparse.offset" => self.sparse.offset = number(value)?,
            b"GNU.sparse.numbytes" => {
                let (Some(offset), Some(length)) = (self.sparse.offset.take(), number(value)?) else {
                    return Err(malformed("GNU.sparse.numbytes without an offset"));
                };
                sparse::push(self.sparse.map.get_or_insert_default(), Extent { offset, length })?;
            }
            b"GNU.sparse.map" => self.sparse.map = Some(sparse::parse_list(value)?),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    if self.xattrs.len() >= MAX_XATTRS {
                        return Err(malformed("too many extended attributes"));
                    }
                    if name.is_empty() || name.contains(&0) || name.len() > 255 || value.len() > 65_536 {
                        return Err(malformed("bad extended attribute"));
                    }
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// One record: its key, its value, and what follows it.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|&b| b == b' ')?;
    let length: usize = std::str::from_utf8(&data[..space]).ok()?.parse().ok()?;
    if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
        return None;
    }
    let body = &data[space + 1..length - 1];
    let equals = body.iter().position(|&b| b == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &data[length..]))
}

/// An empty value takes an earlier record back.
fn text(value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    if value.contains(&0) || value.len() > MAX_PATH {
        return Err(malformed("bad path in a record"));
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

pub(super) fn number(value: &[u8]) -> Result<Option<u64>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number =
        digits.and_then(|text| text.parse().ok()).ok_or_else(|| malformed("bad number in a record"))?;
    Ok(Some(number))
}

/// Seconds with a decimal fraction, possibly negative.
fn time(value: &[u8]) -> Result<Option<(i64, u32)>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    let bad = || malformed("bad time in a record");
    let text = std::str::from_utf8(value).map_err(|_binary| bad())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_letters| bad())?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let nanos: u32 = format!("{:0<9.9}", fraction).parse().map_err(|_letters| bad())?;
    if whole.starts_with('-') && nanos > 0 {
        let earlier = seconds.checked_sub(1).ok_or_else(bad)?;
        return Ok(Some((earlier, 1_000_000_000 - nanos)));
    }
    Ok(Some((seconds, nanos)))
}

fn malformed(reason: &str) -> Error {
    Error::Archive(format!("PAX header: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values_survive() {
        let value = b"a\nb=\0c";
        let body = [b" SCHILY.xattr.security.capability=".as_slice(), value, b"\n"].concat();
        let data = [(body.len() + 2).to_string().into_bytes(), body].concat();
        let records = Records::parse(&data).unwrap();
        assert_eq!(records.xattrs, [(b"security.capability".to_vec(), value.to_vec())]);
    }

    #[test]
    fn times_and_numbers() {
        assert_eq!(time(b"12.5").unwrap(), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25").unwrap(), Some((-2, 750_000_000)));
        assert_eq!(time(b"7.1234567891").unwrap(), Some((7, 123_456_789)));
        assert!(number(b"-1").is_err());
        assert!(number(b"99999999999999999999999").is_err());
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [&b"5 a=b"[..], b"x a=b\n", b"99 a=b\n", b"6 path\n", b"0 \n", b"12 path=a\0b\nx", b"3 \n"]
        {
            assert!(Records::parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
