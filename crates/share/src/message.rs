//! Requests taken apart and replies put together. Nothing here fails but by saying `EINVAL`.

use std::ffi::CStr;

use rustix::io::Errno;

/// The length of a request's header.
const REQUEST_HEADER: usize = 40;
/// The length of a reply's header.
pub const HEADER: usize = 16;

/// The length that a request or reply says it has, once its first bytes are there.
#[must_use]
pub fn length(message: &[u8]) -> Option<usize> {
    let (length, _) = message.split_first_chunk()?;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

/// What stands before every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it asks for.
    pub op: u32,
    /// What its reply is known by.
    pub unique: u64,
    /// The file that it is about.
    pub node: u64,
    /// For whom.
    pub uid: u32,
    /// And in which group.
    pub gid: u32,
}

/// A request as header and fields; `None` when it is not one.
pub fn parse(message: &[u8]) -> Option<(Header, Fields<'_>)> {
    if message.len() < REQUEST_HEADER || length(message)? != message.len() {
        return None;
    }
    let mut fields = Fields(message);
    let mut header = || {
        fields.u32()?;
        let header = Header {
            op: fields.u32()?,
            unique: fields.u64()?,
            node: fields.u64()?,
            uid: fields.u32()?,
            gid: fields.u32()?,
        };
        // The process, and extensions, of which none is agreed on.
        fields.u64()?;
        Ok::<_, Errno>(header)
    };
    Some((header().ok()?, fields))
}

/// Reads a request's fields one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*head)
    }

    /// A number.
    pub fn u32(&mut self) -> Result<u32, Errno> {
        self.take().map(u32::from_le_bytes)
    }

    /// A number.
    pub fn u64(&mut self) -> Result<u64, Errno> {
        self.take().map(u64::from_le_bytes)
    }

    /// Any text: where a symbolic link leads, an attribute's name.
    pub fn text(&mut self) -> Result<&'a CStr, Errno> {
        let Ok(text) = CStr::from_bytes_until_nul(self.0) else { return Err(Errno::INVAL) };
        self.0 = &self.0[text.count_bytes() + 1..];
        Ok(text)
    }

    /// A name in a directory: one that leads nowhere else.
    pub fn name(&mut self) -> Result<&'a CStr, Errno> {
        let name = self.text()?;
        match name.to_bytes() {
            b"" | b"." | b".." => Err(Errno::INVAL),
            bytes if bytes.contains(&b'/') => Err(Errno::INVAL),
            _ => Ok(name),
        }
    }

    /// That many bytes.
    pub fn bytes(&mut self, count: u32) -> Result<&'a [u8], Errno> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// Replies, one after the other.
#[derive(Debug, Default)]
pub struct Replies(pub Vec<u8>);

impl Replies {
    /// Adds the reply to a request: what `write` adds, or its error.
    pub fn reply(&mut self, unique: u64, write: impl FnOnce(&mut Self) -> Result<(), Errno>) {
        let start = self.0.len();
        self.0.extend([0; HEADER]);
        let error = match write(self) {
            Ok(()) => 0,
            Err(errno) => {
                self.0.truncate(start + HEADER);
                -errno.raw_os_error()
            }
        };
        self.head(start, error, unique);
    }

    /// Adds what answers no request.
    pub fn notify(&mut self, code: i32, fields: [u64; 3]) {
        let start = self.0.len();
        self.0.extend([0; HEADER]);
        fields.into_iter().for_each(|field| self.u64(field));
        self.head(start, code, 0);
    }

    fn head(&mut self, start: usize, error: i32, unique: u64) {
        let length = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        let header = &mut self.0[start..start + HEADER];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..8].copy_from_slice(&error.to_le_bytes());
        header[8..].copy_from_slice(&unique.to_le_bytes());
    }

    /// A number.
    pub fn u16(&mut self, number: u16) {
        self.0.extend(number.to_le_bytes());
    }

    /// A number.
    pub fn u32(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    /// A number.
    pub fn u64(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    /// Up to `size` bytes, as `read` puts them there; it says how many.
    pub fn fill(
        &mut self,
        size: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
    ) -> Result<(), Errno> {
        let start = self.0.len();
        self.0.resize(start + size, 0);
        let count = read(&mut self.0[start..]);
        self.0.truncate(start + *count.as_ref().unwrap_or(&0));
        count.map(drop)
    }
}
