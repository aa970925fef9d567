//! A container's bind mounts and volumes, served to its VM: files of the host through the FUSE protocol of the guest's
//! kernel, whose messages travel over one port of the VM instead of over `/dev/fuse`.
//!
//! FUSE and not 9P, because a guest's locks must be the host's. Linux's 9P client says neither whose lock it asks for
//! nor whether it comes from `fcntl` or `flock`, and releases a `flock` with the process that took it. FUSE names the
//! owner; it carries ACLs, holes and `O_TMPFILE`, too, and takes less than half as many messages to make a file.
//!
//! * The guest's kernel checks permissions (`default_permissions`) and names the user for whom a file is made.
//! * It caches neither names nor data: what is asked goes to the host, so that others' changes are seen at once. Only
//!   `mmap` goes through the guest's page cache.
//! * A file is known by a descriptor of its own, never by a path. A name is one component, opened below such a
//!   descriptor without following links. So the guest cannot leave what is shared.
//! * Whatever a message holds, it is answered or ends the connection; what a guest can make this process keep is bounded.
//!
//! The server's thread takes on the guest's users and masks while it makes files, so it must be its process's only one.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod abi;
mod attributes;
mod directories;
mod files;
mod fuzz;
mod locks;
mod message;
mod names;
mod nodes;
mod own;
mod serve;
mod server;
#[cfg(test)]
mod tests;
mod xattrs;

pub use abi::MAX_MESSAGE;
pub use fuzz::fuzz;
pub use message::{HEADER as REPLY_HEADER, length};
pub use own::OwnFiles;
pub use serve::serve;
pub use server::Server;
