//! HTTP: listening, connections, versions, request parts, hijacked streams. Knows nothing of containers or images.

mod body;
mod connection;
mod hijack;
mod listener;
mod params;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod version;
pub mod websocket;

pub use body::JsonBody;
pub use connection::serve;
pub use hijack::{Duplex, Hijack};
pub use listener::{Host, ListenError, Listener};
pub use params::{Params, parse_timestamp};
pub use stream::{JsonLines, json_lines};
pub use tls::{TlsError, TlsFiles};
pub use version::Api;
