//! Extended attributes: those of users, the capabilities of programs, and ACLs. What else a host keeps there (labels of
//! its security modules, `trusted.*`, which a container cannot have at the process level either) is its own.

use std::ffi::CStr;

use rustix::fs::{AtFlags, CWD, Mode, XattrFlags};
use rustix::io::Errno;

use crate::abi::{self, init};
use crate::message::{Fields, Header, Replies};
use crate::nodes;
use crate::own::name;
use crate::server::Server;

/// The longest value and the longest list that the kernel knows.
const MAX_SIZE: u32 = 64 << 10;
/// What a file's permissions are, in detail.
const ACL: &[u8] = b"system.posix_acl_access";

/// Whether a guest has to do with an attribute.
fn shared(attribute: &[u8]) -> bool {
    attribute.starts_with(b"user.")
        || [b"security.capability".as_slice(), ACL, b"system.posix_acl_default"].contains(&attribute)
}

fn checked<'a>(fields: &mut Fields<'a>) -> Result<&'a CStr, Errno> {
    let attribute = fields.text()?;
    if shared(attribute.to_bytes()) { Ok(attribute) } else { Err(Errno::OPNOTSUPP) }
}

impl Server {
    pub(crate) fn set_xattr(&mut self, header: &Header, fields: &mut Fields<'_>) -> Result<(), Errno> {
        let (size, flags) = (fields.u32()?, fields.u32()?);
        let more = if self.has(init::SETXATTR_EXT) {
            let more = fields.u32()?;
            fields.u32()?;
            more
        } else {
            0
        };
        let attribute = checked(fields)?;
        let flags = XattrFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        let fd = self.nodes.fd(header.node)?;
        rustix::fs::setxattr(name(fd), attribute, fields.bytes(size)?, flags)?;
        if attribute.to_bytes() == ACL && more & abi::ACL_KILL_SGID != 0 {
            let mode = u32::from(nodes::stat(fd)?.stx_mode) & 0o5777;
            rustix::fs::chmodat(CWD, name(fd), Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        Ok(())
    }

    pub(crate) fn get_xattr(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (size, _) = (fields.u32()?, fields.u32()?);
        let attribute = checked(fields)?;
        let file = name(self.nodes.fd(header.node)?);
        if size == 0 {
            let length = rustix::fs::getxattr_query(file, attribute)?;
            reply.u32(u32::try_from(length).unwrap_or(u32::MAX));
            reply.u32(0);
            return Ok(());
        }
        let size = usize::try_from(size.min(MAX_SIZE)).unwrap_or(0);
        reply.fill(size, |buffer| rustix::fs::getxattr(file, attribute, buffer))
    }

    pub(crate) fn list_xattrs(
        &mut self,
        header: &Header,
        fields: &mut Fields<'_>,
        reply: &mut Replies,
    ) -> Result<(), Errno> {
        let (size, _) = (fields.u32()?, fields.u32()?);
        let file = name(self.nodes.fd(header.node)?);
        let mut all = vec![0; usize::try_from(MAX_SIZE).unwrap_or(0)];
        let length = rustix::fs::listxattr(file, &mut all)?;
        let names = all[..length].split_inclusive(|byte| *byte == 0);
        let list: Vec<u8> = names
            .filter(|name| shared(name.strip_suffix(b"\0").unwrap_or(name)))
            .flatten()
            .copied()
            .collect();
        let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
        match size {
            0 => {
                reply.u32(length);
                reply.u32(0);
            }
            size if size < length => return Err(Errno::RANGE),
            _ => reply.0.extend(list),
        }
        Ok(())
    }

    pub(crate) fn remove_xattr(&mut self, header: &Header, fields: &mut Fields<'_>) -> Result<(), Errno> {
        let attribute = checked(fields)?;
        rustix::fs::removexattr(name(self.nodes.fd(header.node)?), attribute)
    }
}
