//! What can go wrong with records.

use std::path::PathBuf;

/// A record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database file cannot be opened.
    #[error("cannot open the database {path}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A later version of the daemon wrote it.
    #[error("the database has schema version {found}, this daemon knows up to {known}")]
    TooNew {
        /// The file's.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Another container has the name.
    #[error("the name {name:?} is in use by container {holder}")]
    NameInUse {
        /// The name.
        name: String,
        /// The ID of the container that has it.
        holder: String,
    },
    /// No such container.
    #[error("no record of container {0}")]
    NotFound(String),
    /// Every address of the network is leased.
    #[error("no free address left in network {0:?}")]
    AddressesExhausted(String),
    /// Another container has the address.
    #[error("Address already in use: container {holder} has {address}")]
    AddressInUse {
        /// The address.
        address: std::net::IpAddr,
        /// The ID of the container that has it.
        holder: String,
    },
    /// Another network has the name.
    #[error("network with name {0} already exists")]
    NetworkNameInUse(String),
    /// No such network (any more).
    #[error("network {0} not found")]
    NoNetwork(String),
    /// Containers have addresses of the network.
    #[error("the network has active endpoints")]
    NetworkInUse(
        /// The containers' IDs.
        Vec<String>,
    ),
    /// Every user id of this daemon is leased.
    #[error("no free user id left for VM worker processes")]
    UidsExhausted,
    /// The database itself.
    #[error("database")]
    Sqlite(#[from] rusqlite::Error),
}
