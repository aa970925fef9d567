//! The tables, and how older databases become the newest.

use rusqlite::{Connection, TransactionBehavior};

use crate::StoreError;

/// One step each; never change one that was released, append another. `user_version` counts the steps taken.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE container (
        id      TEXT PRIMARY KEY,
        name    TEXT NOT NULL UNIQUE,
        created INTEGER NOT NULL,
        spec    TEXT NOT NULL,
        state   TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE address_lease (
        network   TEXT NOT NULL,
        address   INTEGER NOT NULL,
        container TEXT NOT NULL REFERENCES container (id) ON DELETE CASCADE,
        PRIMARY KEY (network, address),
        UNIQUE (container, network)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE uid_lease (
        uid       INTEGER PRIMARY KEY,
        container TEXT NOT NULL UNIQUE REFERENCES container (id) ON DELETE CASCADE
    ) STRICT;

    CREATE TABLE setting (
        key   TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE network (
        id      TEXT PRIMARY KEY,
        name    TEXT NOT NULL UNIQUE,
        created INTEGER NOT NULL,
        spec    TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE address6_lease (
        network   TEXT NOT NULL,
        address   TEXT NOT NULL,
        container TEXT NOT NULL REFERENCES container (id) ON DELETE CASCADE,
        PRIMARY KEY (network, address),
        UNIQUE (container, network)
    ) STRICT, WITHOUT ROWID;
",
];

/// Brings the database to the newest version.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for step in &MIGRATIONS[done..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}
