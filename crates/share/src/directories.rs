//! Reading directories. An entry's place is the host's, so that reading goes on there whatever was added or removed.

use rustix::fs::{FileType, RawDir, SeekFrom};
use rustix::io::Errno;

use crate::message::{Fields, Header, Replies};
use crate::nodes;
use crate::server::Server;

/// The most bytes of one reply.
const MAX_SIZE: u32 = 128 << 10;
/// An entry before its name.
const ENTRY: usize = 24;

impl Server {
    pub(crate) fn read_directory(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (handle, offset, size) = (fields.u64()?, fields.u64()?, fields.u32()?);
        let room = usize::try_from(size.min(MAX_SIZE)).unwrap_or(0);
        let device = nodes::device(&nodes::stat(self.nodes.fd(header.node)?)?);
        let directory = self.handles.get(handle)?;
        rustix::fs::seek(directory, SeekFrom::Start(offset))?;
        // The protocol's entries take up to a third more than the kernel's: none is read in vain.
        let mut buffer = Vec::with_capacity(room / 4 * 3);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        let end = reply.0.len() + room;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let length = (ENTRY + name.len()).next_multiple_of(8);
            if reply.0.len() + length > end {
                break;
            }
            let start = reply.0.len();
            reply.u64(self.nodes.inode(device, entry.ino()));
            reply.u64(entry.next_entry_cookie());
            reply.u32(u32::try_from(name.len()).unwrap_or(0));
            reply.u32(kind(entry.file_type()));
            reply.0.extend(name);
            reply.0.resize(start + length, 0);
        }
        Ok(())
    }
}

/// `DT_…`, which are the upper bits of a mode.
fn kind(kind: FileType) -> u32 {
    match kind {
        FileType::Unknown => 0,
        kind => kind.as_raw_mode() >> 12,
    }
}
