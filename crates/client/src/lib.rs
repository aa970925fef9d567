//! A typed client of the engine's API, for the CLI and for tests. It owns how a daemon is found and reached
//! ([`Host`], Unix socket, TCP, TLS), API version negotiation, one method per endpoint, streams of JSON lines
//! ([`JsonLines`]), hijacked connections ([`Attached`]) and the daemon's error messages ([`ClientError`]). It prints nothing.
//!
//! ```no_run
//! # async fn example() -> Result<(), cofferdam_client::ClientError> {
//! use cofferdam_client::{Attach, Client, Host, WaitUntil, models::ContainerCreateBody};
//!
//! let client = Client::new(Host::unix("/run/cofferdam/cofferdam.sock"));
//! let body = ContainerCreateBody {
//!     image: Some("nanoserver".into()),
//!     cmd: Some(vec!["echo".into(), "hello".into()]),
//!     ..Default::default()
//! };
//! let id = client.create_container(Some("greeter"), None, &body).await?.id;
//! let mut attached = client.attach(&id, &Attach { stdout: true, stderr: true, ..Attach::default() }).await?;
//! let wait = client.wait(&id, WaitUntil::NextExit).await?;
//! client.start(&id, None).await?;
//! let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
//! attached.copy_output(&mut stdout, &mut stderr).await?;
//! assert_eq!((stdout.as_slice(), wait.exit().await?.status_code), (&b"hello\n"[..], 0));
//! # Ok(()) }
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod archive;
mod client;
mod commit;
mod compute;
mod connection;
mod containers;
mod document;
mod error;
mod exec;
mod hijack;
mod host;
mod images;
mod lines;
mod networks;
mod policy;
mod query;
mod select;
mod system;
mod templates;
mod tls;
mod volumes;

pub use archive::{PathChange, PathStat, TarStream};
pub use client::{Body, Client, Ping};
pub use cofferdam_api::{self as api, Filters, Info, Progress, Version, models};
pub use commit::Commit;
pub use containers::{Attach, LevelUpdate, ListContainers, Logs, Removal, Wait, WaitUntil};
pub use document::Document;
pub use error::ClientError;
pub use hijack::{Attached, AttachedInput, AttachedOutput};
pub use host::{DEFAULT_SOCKET, Host, InvalidHost, TlsFiles};
pub use images::{Import, RegistryAuth};
pub use lines::JsonLines;
pub use select::Selected;
pub use system::EventsQuery;
