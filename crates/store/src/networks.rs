//! Networks that users have made. That a container has an address in one is what keeps it from being removed.

use rusqlite::{ErrorCode, TransactionBehavior, params};

use crate::{Store, StoreError};

/// A recorded network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRow {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Unix time in nanoseconds.
    pub created: i64,
    /// The daemon's specification of it, JSON.
    pub spec: String,
}

impl Store {
    /// Records a new network. A name in use is refused.
    pub fn insert_network(&self, new: &NetworkRow) -> Result<(), StoreError> {
        let inserted = self
            .lock()
            .prepare_cached("INSERT INTO network (id, name, created, spec) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![new.id, new.name, new.created, new.spec]);
        match inserted {
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == ErrorCode::ConstraintViolation =>
            {
                Err(StoreError::NetworkNameInUse(new.name.clone()))
            }
            other => Ok(other.map(|_| ())?),
        }
    }

    /// All networks of users, oldest first.
    pub fn networks(&self) -> Result<Vec<NetworkRow>, StoreError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare("SELECT id, name, created, spec FROM network ORDER BY created, id")?;
        let rows = statement.query_map([], |row| {
            Ok(NetworkRow { id: row.get(0)?, name: row.get(1)?, created: row.get(2)?, spec: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets a network, unless containers have addresses in it. From then on it gives none.
    pub fn remove_network(&self, id: &str) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let holders: Vec<String> = transaction
            .prepare_cached("SELECT container FROM address_lease WHERE network = ?1")?
            .query_map([id], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if !holders.is_empty() {
            return Err(StoreError::NetworkInUse(holders));
        }
        if transaction.prepare_cached("DELETE FROM network WHERE id = ?1")?.execute([id])? == 0 {
            return Err(StoreError::NoNetwork(id.to_owned()));
        }
        transaction.commit()?;
        Ok(())
    }
}
