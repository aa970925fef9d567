//! Container records: the immutable specification, the current state, the name.

use cofferdam_model::ContainerId;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use crate::{Store, StoreError};

/// A container to record.
#[derive(Clone, Copy, Debug)]
pub struct NewContainer<'a> {
    /// Its ID.
    pub id: &'a ContainerId,
    /// Its name, without a leading slash.
    pub name: &'a str,
    /// Unix time in nanoseconds.
    pub created: i64,
    /// The daemon's specification of it, JSON.
    pub spec: &'a str,
    /// Its state, JSON.
    pub state: &'a str,
}

/// A recorded container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRow {
    /// Its ID.
    pub id: ContainerId,
    /// Its name, without a leading slash.
    pub name: String,
    /// Unix time in nanoseconds.
    pub created: i64,
    /// JSON.
    pub spec: String,
    /// JSON.
    pub state: String,
}

impl Store {
    /// Records a new container. A name in use is refused with its holder.
    pub fn insert_container(&self, new: &NewContainer<'_>) -> Result<(), StoreError> {
        let connection = self.lock();
        let inserted = connection
            .prepare_cached(
                "INSERT INTO container (id, name, created, spec, state) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![new.id.as_str(), new.name, new.created, new.spec, new.state]);
        name_or_error(&connection, new.name, inserted).map(|_| ())
    }

    /// All containers, oldest first.
    pub fn containers(&self) -> Result<Vec<ContainerRow>, StoreError> {
        let connection = self.lock();
        let mut statement = connection
            .prepare("SELECT id, name, created, spec, state FROM container ORDER BY created, id")?;
        let rows = statement.query_map([], |row| {
            let id: String = row.get(0)?;
            let id = id.parse::<ContainerId>().map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
            })?;
            Ok(ContainerRow {
                id,
                name: row.get(1)?,
                created: row.get(2)?,
                spec: row.get(3)?,
                state: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Renames a container. A name in use is refused with its holder.
    pub fn rename_container(&self, id: &ContainerId, name: &str) -> Result<(), StoreError> {
        let connection = self.lock();
        let changed = connection
            .prepare_cached("UPDATE container SET name = ?2 WHERE id = ?1")?
            .execute(params![id.as_str(), name]);
        found(id, name_or_error(&connection, name, changed)?)
    }

    /// Replaces a container's specification.
    pub fn set_spec(&self, id: &ContainerId, spec: &str) -> Result<(), StoreError> {
        let connection = self.lock();
        let changed = connection
            .prepare_cached("UPDATE container SET spec = ?2 WHERE id = ?1")?
            .execute(params![id.as_str(), spec])?;
        found(id, changed)
    }

    /// Replaces a container's state. Leases stay as they are; see [`Store::begin_start`] and [`Store::set_stopped`].
    pub fn set_state(&self, id: &ContainerId, state: &str) -> Result<(), StoreError> {
        let connection = self.lock();
        set_state(&connection, id, state)
    }

    /// Records that a container is being removed. Its name is free at once: the record goes on under its ID, with its
    /// leases, until [`Store::remove_container`].
    pub fn begin_removal(&self, id: &ContainerId, state: &str) -> Result<(), StoreError> {
        let connection = self.lock();
        let changed = connection
            .prepare_cached("UPDATE container SET name = id, state = ?2 WHERE id = ?1")?
            .execute(params![id.as_str(), state])?;
        found(id, changed)
    }

    /// Forgets a container and everything it held. Unknown ones are forgotten already.
    pub fn remove_container(&self, id: &ContainerId) -> Result<(), StoreError> {
        let connection = self.lock();
        connection.prepare_cached("DELETE FROM container WHERE id = ?1")?.execute([id.as_str()])?;
        Ok(())
    }
}

/// The state column, inside or outside a transaction.
pub(crate) fn set_state(connection: &Connection, id: &ContainerId, state: &str) -> Result<(), StoreError> {
    let changed = connection
        .prepare_cached("UPDATE container SET state = ?2 WHERE id = ?1")?
        .execute(params![id.as_str(), state])?;
    found(id, changed)
}

fn found(id: &ContainerId, changed: usize) -> Result<(), StoreError> {
    if changed == 0 { Err(StoreError::NotFound(id.to_string())) } else { Ok(()) }
}

/// Turns a violated unique constraint into [`StoreError::NameInUse`].
fn name_or_error(
    connection: &Connection,
    name: &str,
    result: rusqlite::Result<usize>,
) -> Result<usize, StoreError> {
    match result {
        Err(rusqlite::Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::ConstraintViolation => {
            let holder: Option<String> = connection
                .prepare_cached("SELECT id FROM container WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()?;
            match holder {
                Some(holder) => Err(StoreError::NameInUse { name: name.to_owned(), holder }),
                None => Err(StoreError::Sqlite(rusqlite::Error::SqliteFailure(failure, None))),
            }
        }
        other => Ok(other?),
    }
}
