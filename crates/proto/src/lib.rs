//! The protocol between a shim and the agent of its utility VM, over one byte stream (a virtio-serial port).
//!
//! The crate is a pure codec: it turns messages into bytes and bytes into messages and does no I/O. The stream is a
//! sequence of frames ([`frame`]): control messages in JSON ([`message`]) and the raw bytes of many standard streams,
//! each with a window of its own ([`window`]), so that one slow reader never holds up the others.
//!
//! ```text
//! agent ── Hello{version} ──────────────► shim      the agent speaks first, as soon as it is ready (in a clone it
//!                                                   spoke to whoever made the template)
//! agent ◄── Request{id, …} ────────────── shim      any number at a time, answered in any order
//! agent ── Response{id, …} / Failure{id} ► shim
//! agent ── Event(Exited | …) ────────────► shim
//! agent ◄─ Data{stream} / Credit / End ──► shim     stream ids are chosen by the shim
//! ```
//!
//! **The guest is hostile** to the shim: sizes are bounded before anything is allocated, a broken rule is an error
//! that ends the connection (and with it the VM), and nothing here panics on any input (see [`fuzz`]).
//!
//! Versioning: [`VERSION`] changes when an old peer could misunderstand a new one. Shim and agent are built and
//! installed together, so versions must be equal; adding an optional field needs no new version.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod frame;
pub mod message;
pub mod window;

pub use frame::{Decoder, Frame, ProtocolError};
pub use message::{
    Adopt, CreateContainer, EndedBy, Event, ExecProcess, GuestFile, Hello, Message, Prepare, Request,
    Response, Rewire, StreamIds,
};
pub use window::{CHUNK, Receiver, WINDOW};

/// The protocol's version.
pub const VERSION: u32 = 5;

/// The name of the virtio-serial port that carries the protocol.
pub const AGENT_PORT: &str = "cofferdam.agent";

/// The name of the virtio-serial port that carries FUSE requests for the container's bind mounts.
pub const SHARE_PORT: &str = "cofferdam.share";

/// Feeds arbitrary bytes to everything that reads what a guest sends. Must never panic.
pub fn fuzz(data: &[u8]) {
    let mut decoder = Decoder::default();
    let mut receiver = Receiver::default();
    for piece in data.chunks(7) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(Frame::Control(bytes))) => drop(Message::from_json(&bytes)),
                Ok(Some(Frame::Data { bytes, .. })) if receiver.received(bytes.len()).is_err() => return,
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}
