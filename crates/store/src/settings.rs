//! Small facts the daemon remembers about itself: its subnet, its ID.

use rusqlite::{OptionalExtension as _, params};

use crate::{Store, StoreError};

impl Store {
    /// A remembered value.
    pub fn setting(&self, key: &str) -> Result<Option<String>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached("SELECT value FROM setting WHERE key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Remembers a value.
    pub fn set_setting(&self, key: &str, value: &str) -> Result<(), StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "INSERT INTO setting (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?;
        statement.execute(params![key, value])?;
        Ok(())
    }

    /// Forgets a value.
    pub fn remove_setting(&self, key: &str) -> Result<(), StoreError> {
        self.lock().execute("DELETE FROM setting WHERE key = ?1", [key])?;
        Ok(())
    }
}
