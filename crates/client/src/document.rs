//! An answer kept as it was written beside its typed form.

use serde::de::DeserializeOwned;

/// What `inspect` shows: the daemon's own text (with every field, in its order) and the fields that have types.
#[derive(Clone, Debug)]
pub struct Document<T> {
    /// The JSON text as it came.
    pub raw: String,
    /// The same, typed.
    pub value: T,
}

impl<T: DeserializeOwned> Document<T> {
    pub(crate) fn parse(raw: String) -> Result<Self, serde_json::Error> {
        Ok(Self { value: serde_json::from_str(&raw)?, raw })
    }

    /// The text read as another type, for fields of our own.
    pub fn read<U: DeserializeOwned>(&self) -> Result<U, serde_json::Error> {
        serde_json::from_str(&self.raw)
    }
}
