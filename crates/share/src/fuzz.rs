//! Arbitrary requests, for the fuzz target and its twin among the tests.

use std::os::fd::OwnedFd;

use crate::OwnFiles;
use crate::abi::op;
use crate::message::Replies;
use crate::server::Server;

/// A request's header.
const HEADER: usize = 40;

/// Has a server of `root`, a scratch directory, answer what can be made of the bytes: requests that are whole, and the
/// bytes as they are. Must never panic, and nothing outside of the directory may change.
pub fn fuzz(root: OwnedFd, own: &OwnFiles, data: &[u8]) {
    let Ok(mut server) = Server::new(root, own) else { return };
    let mut replies = Replies::default();
    let mut rest = data;
    // The first bytes of each: what for, about which node, and how long.
    while let Some(([what, node, length], more)) = rest.split_first_chunk() {
        let (body, more) = more.split_at(usize::from(*length).min(more.len()));
        rest = more;
        let asked = u32::from(*what % 64);
        // It could fill the disk.
        if asked != op::FALLOCATE {
            let length = u32::try_from(HEADER + body.len()).unwrap_or(0);
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            let mut message = Vec::from(length.to_le_bytes());
            message.extend(asked.to_le_bytes());
            message.extend(1_u64.to_le_bytes());
            message.extend(u64::from(*node).to_le_bytes());
            message.extend([uid, gid, 0, 0].iter().flat_map(|number| number.to_le_bytes()));
            message.extend(body);
            let _ = server.handle(&message, &mut replies);
            server.retry_locks(&mut replies);
            replies.0.clear();
        }
    }
    let _ = server.handle(data, &mut replies);
}
