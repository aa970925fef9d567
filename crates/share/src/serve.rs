//! Requests from a port, replies into it.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::abi::MAX_MESSAGE;
use crate::message::{Replies, length};
use crate::server::{Broken, Server};

/// Replies that are sent together, at most: a request is small, and what it asks for may not be.
const TOGETHER: usize = 64 << 10;

/// Answers requests until the port closes.
pub fn serve<P>(port: &P, server: &mut Server) -> io::Result<()>
where
    P: AsFd,
    for<'a> &'a P: Read + Write,
{
    let mut buffer = vec![0; MAX_MESSAGE];
    let (mut filled, mut replies) = (0, Replies::default());
    loop {
        if wait(port, server)? {
            let count = { port }.read(&mut buffer[filled..])?;
            if count == 0 {
                return Ok(());
            }
            filled += count;
        }
        let mut start = 0;
        while let Some(length) = length(&buffer[start..filled]) {
            if length > MAX_MESSAGE {
                return Err(io::Error::other(Broken));
            }
            let Some(message) = buffer[start..filled].get(..length) else { break };
            server.handle(message, &mut replies).map_err(io::Error::other)?;
            start += length;
            if replies.0.len() >= TOGETHER {
                send(port, &mut replies)?;
            }
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
        server.retry_locks(&mut replies);
        send(port, &mut replies)?;
    }
}

fn send<P>(port: &P, replies: &mut Replies) -> io::Result<()>
where
    for<'a> &'a P: Write,
{
    { port }.write_all(&replies.0)?;
    replies.0.clear();
    Ok(())
}

/// Waits for a request or for the time to try a lock again; whether there is something to read.
fn wait(port: &impl AsFd, server: &Server) -> io::Result<bool> {
    let timeout = server.patience().and_then(|patience| Timespec::try_from(patience).ok());
    let mut polled = [PollFd::new(port, PollFlags::IN)];
    match poll(&mut polled, timeout.as_ref()) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
