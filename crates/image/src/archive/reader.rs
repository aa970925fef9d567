//! The walk over an archive's entries.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::Error;
use crate::error::is_full;

use super::pax::Records;
use super::sparse::{self, Extent};
use super::{BLOCK, MAX_EXTENSION, MAX_PATH};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file; with its extents when it is sparse.
    File {
        sparse: Option<Vec<Extent>>,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    HardLink {
        target: Vec<u8>,
    },
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
    /// A global PAX header, whose records Docker ignores too.
    Ignored,
}

/// One entry, extensions applied. Its data is read from the [`Reader`] before the next entry is asked for.
#[derive(Debug)]
pub(crate) struct Entry {
    pub name: Vec<u8>,
    pub kind: Kind,
    /// The file's size, holes included.
    pub size: u64,
    /// Permission bits with set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads one archive.
pub(crate) struct Reader<R> {
    inner: R,
    /// Data bytes of the current entry not yet read.
    remaining: u64,
    /// Padding behind them.
    padding: u64,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, remaining: 0, padding: 0 }
    }

    /// The stream behind the archive, to read what follows its end.
    pub(crate) fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The next entry, or `None` at the end of the archive. As Go's reader we take the end of the stream between two
    /// entries for the end of the archive: many writers leave the closing blocks out.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip_data()?;
        let (mut long_name, mut long_link, mut records) = (None, None, Records::default());
        let mut extensions = 0;
        loop {
            let Some(header) = self.read_header()? else {
                if extensions > 0 {
                    return Err(Error::Archive("ends after an extension header".into()));
                }
                return Ok(None);
            };
            let kind = header.entry_type();
            if !(kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions()) {
                return self.finish_entry(&header, long_name, long_link, records).map(Some);
            }
            extensions += 1;
            if extensions > 8 {
                return Err(Error::Archive("too many extension headers for one entry".into()));
            }
            let data = self.read_extension(&header)?;
            if kind.is_gnu_longname() {
                long_name = Some(c_string(data));
            } else if kind.is_gnu_longlink() {
                long_link = Some(c_string(data));
            } else {
                records = Records::parse(&data)?;
            }
        }
    }

    /// Reads the next header; `None` at the closing zero blocks or the stream's end.
    fn read_header(&mut self) -> Result<Option<Header>, Error> {
        let mut header = Header::new_old();
        let mut filled = 0;
        let bytes = header.as_mut_bytes();
        while filled < bytes.len() {
            match self.inner.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(truncated()),
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(stream(error)),
            }
        }
        if bytes.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|&b| u32::from(b)).sum::<u32>() + 8 * 32;
        // Historic writers summed signed bytes.
        let signed: i32 =
            bytes[..148].iter().chain(&bytes[156..]).map(|&b| i32::from(b.cast_signed())).sum::<i32>()
                + 8 * 32;
        let stated = header.cksum().map_err(|_octal| Error::Archive("not a tar archive".into()))?;
        if stated != sum && i32::try_from(stated) != Ok(signed) {
            return Err(Error::Archive("header checksum mismatch".into()));
        }
        Ok(Some(header))
    }

    fn read_extension(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let size = header.entry_size().map_err(|_octal| bad_field(b"extension header", "size"))?;
        if size > MAX_EXTENSION {
            return Err(Error::Archive(format!("extension header of {size} bytes is too large")));
        }
        let length = usize::try_from(size).map_err(|_large| truncated())?;
        let mut data = vec![0; length];
        self.inner.read_exact(&mut data).map_err(stream)?;
        self.padding = padding(size);
        self.skip_data()?;
        Ok(data)
    }

    fn finish_entry(
        &mut self,
        header: &Header,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        mut records: Records,
    ) -> Result<Entry, Error> {
        let name = records.sparse.name.take().or(records.path.take()).or(long_name);
        let mut name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        if name.len() > MAX_PATH || name.contains(&0) {
            name.truncate(100);
            return Err(Error::entry(&name, "name too long or with a zero byte"));
        }
        let mut stored = match records.size {
            Some(size) => size,
            None => or_zero(header.entry_size(), &header.as_old().size)
                .map_err(|_octal| bad_field(&name, "size"))?,
        };
        if i64::try_from(stored).is_err() {
            return Err(bad_field(&name, "size"));
        }
        let link = || {
            let link = records.linkpath.clone().or(long_link.clone());
            let link = link
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default();
            if link.is_empty() || link.len() > MAX_PATH || link.contains(&0) {
                return Err(Error::entry(&name, "bad link target"));
            }
            Ok(link)
        };
        let mut size = stored;
        let kind = match header.entry_type() {
            // Archives of 1979 mark a directory by its name only.
            EntryType::Regular if name.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => {
                let map = self.pax_sparse(&mut records, &mut stored)?;
                if let Some((map, real_size)) = map {
                    sparse::check(&map, real_size, stored)?;
                    size = real_size;
                    Kind::File { sparse: Some(map) }
                } else {
                    Kind::File { sparse: None }
                }
            }
            EntryType::GNUSparse => {
                let gnu =
                    header.as_gnu().ok_or_else(|| Error::entry(&name, "sparse file without a GNU header"))?;
                let map = sparse::read_gnu(gnu, &mut self.inner)?;
                size = gnu.real_size().map_err(|_octal| bad_field(&name, "real size"))?;
                sparse::check(&map, size, stored)?;
                Kind::File { sparse: Some(map) }
            }
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink { target: link()? },
            EntryType::Link => Kind::HardLink { target: link()? },
            EntryType::Char => {
                let (major, minor) = device(header, &name)?;
                Kind::CharDevice { major, minor }
            }
            EntryType::Block => {
                let (major, minor) = device(header, &name)?;
                Kind::BlockDevice { major, minor }
            }
            EntryType::Fifo => Kind::Fifo,
            EntryType::XGlobalHeader => Kind::Ignored,
            other => {
                return Err(Error::entry(
                    &name,
                    format!("unhandled tar header type {:?}", char::from(other.as_byte())),
                ));
            }
        };
        if i64::try_from(size).is_err() {
            return Err(bad_field(&name, "size"));
        }
        // The size field of what has no data means nothing (some writers put a hard link's file size there).
        let has_data = matches!(kind, Kind::File { .. } | Kind::Ignored);
        self.remaining = if has_data { stored } else { 0 };
        self.padding = if has_data { padding(stored) } else { 0 };
        let old = header.as_old();
        let id = |record: Option<u64>, field: io::Result<u64>, what| {
            let id = record.map_or(field, Ok).map_err(|_octal| bad_field(&name, what))?;
            u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or_else(|| bad_field(&name, what))
        };
        let mtime = match records.mtime {
            Some(mtime) => mtime,
            // Base-256 fields may be negative; the crate hands their two's complement on.
            None => {
                let mtime =
                    or_zero(header.mtime(), &old.mtime).map_err(|_octal| bad_field(&name, "mtime"))?;
                (mtime.cast_signed(), 0)
            }
        };
        Ok(Entry {
            kind,
            size,
            mode: or_zero(header.mode(), &old.mode).map_err(|_octal| bad_field(&name, "mode"))? & 0o7777,
            uid: id(records.uid, or_zero(header.uid(), &old.uid), "uid")?,
            gid: id(records.gid, or_zero(header.gid(), &old.gid), "gid")?,
            mtime,
            xattrs: std::mem::take(&mut records.xattrs),
            name,
        })
    }

    /// The map and real size of a PAX sparse file; `stored` shrinks by what a 1.0 map takes of the data.
    fn pax_sparse(
        &mut self,
        records: &mut Records,
        stored: &mut u64,
    ) -> Result<Option<(Vec<Extent>, u64)>, Error> {
        let found = &mut records.sparse;
        let Some(real_size) = found.real_size else { return Ok(None) };
        if (found.major, found.minor) == (Some(1), Some(0)) {
            let (map, taken) = sparse::read_lines(&mut (&mut self.inner).take(*stored))?;
            *stored -= taken;
            return Ok(Some((map, real_size)));
        }
        Ok(found.map.take().map(|map| (map, real_size)))
    }

    /// Reads data of the current entry. A stream that ends too early is an error, never a short file.
    pub(crate) fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let want = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        loop {
            match self.inner.read(&mut buffer[..want]) {
                Ok(0) => return Err(truncated()),
                Ok(n) => {
                    self.remaining -= n as u64;
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(stream(error)),
            }
        }
    }

    fn skip_data(&mut self) -> Result<(), Error> {
        let count = self.remaining + self.padding;
        if count > 0 {
            let skipped = io::copy(&mut (&mut self.inner).take(count), &mut io::sink()).map_err(stream)?;
            // A missing padding at the very end is harmless; missing data is not.
            if skipped < self.remaining {
                return Err(truncated());
            }
        }
        (self.remaining, self.padding) = (0, 0);
        Ok(())
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

fn c_string(mut data: Vec<u8>) -> Vec<u8> {
    if let Some(end) = data.iter().position(|&b| b == 0) {
        data.truncate(end);
    }
    data
}

fn device(header: &Header, name: &[u8]) -> Result<(u32, u32), Error> {
    let bytes = header.as_bytes();
    let number = |field: io::Result<Option<u32>>, raw| {
        or_zero(field.map(Option::unwrap_or_default), raw).map_err(|_octal| bad_field(name, "device"))
    };
    Ok((number(header.device_major(), &bytes[329..337])?, number(header.device_minor(), &bytes[337..345])?))
}

/// A number field that was left empty means zero, as other readers take it.
fn or_zero<T: Default>(number: io::Result<T>, raw: &[u8]) -> io::Result<T> {
    if raw.iter().all(|&b| b == 0 || b == b' ') { Ok(T::default()) } else { number }
}

fn bad_field(name: &[u8], field: &str) -> Error {
    Error::entry(name, format!("bad {field} field"))
}

fn truncated() -> Error {
    Error::Archive("unexpected end of the archive".into())
}

/// Errors of the stream below: a decompressor's complaint is about the archive, the rest about the stream.
fn stream(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => truncated(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Error::Archive(error.to_string()),
        _ if is_full(&error) => Error::NoSpace(std::path::PathBuf::new()),
        _ => Error::Stream(error),
    }
}
