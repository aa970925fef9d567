//! The daemon's records in one SQLite database: containers, the addresses and user ids they hold, networks,
//! and settings.
//!
//! Specifications and states are opaque JSON here; their meaning is the daemon's. What this crate promises:
//!
//! * a name, an address and a user id belong to one container at most, also across a crash: SQLite's unique
//!   constraints decide, and every state change is one transaction that takes or gives back leases with it;
//! * a database of a newer version is refused, one of an older version is migrated.
//!
//! Durability: write-ahead log with `synchronous=NORMAL`. A commit survives the death of the daemon but does not wait
//! for the disk, which keeps it out of a container's start time. After a power cut the last commits may be missing,
//! the database is never corrupt, and no container of that boot lives any more; the daemon sweeps files that no
//! record knows.

mod containers;
mod error;
mod leases;
mod networks;
mod schema;
mod settings;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};

pub use containers::{ContainerRow, NewContainer};
pub use error::StoreError;
pub use leases::{Address, AddressPool, AddressPool6, Leases, UidPool, Wanted, WantedAddress};
pub use networks::NetworkRow;

/// The open database. One connection behind a lock: every call is a few dozen microseconds of work on a local file.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the database, creating or migrating it as needed.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        Self::prepare(connection)
    }

    /// A database in memory, for tests.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(mut connection: Connection) -> Result<Self, StoreError> {
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             PRAGMA foreign_keys = ON;
             PRAGMA busy_timeout = 5000;
             PRAGMA cache_size = -512;",
        )?;
        schema::migrate(&mut connection)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// The connection. A panic elsewhere cannot have left a transaction open: dropping one rolls it back.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
