use std::fmt;

use object_store::path::Path;

/// Why the archive could not be written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No object has this: it was never archived, or retention has taken it.
    #[error("{what} is not in the archive")]
    NotArchived { what: String },
    /// The object store did not answer, or refused: trying again later may help.
    #[error("the object store is not available: {why}")]
    StoreUnavailable { why: String },
    /// What the store answered is not what was written.
    #[error("archived object {object} is damaged: {why}")]
    Corrupt { object: String, why: String },
    /// The archive's address cannot be used.
    #[error("archive address '{url}': {why}")]
    Url { url: String, why: String },
    /// The log could not be read, or its records not be archived.
    #[error("the log cannot be archived: {why}")]
    Log { why: String },
}

impl StoreError {
    pub(crate) fn corrupt(object: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Corrupt { object: object.to_string(), why: why.to_string() }
    }

    pub(crate) fn log(why: impl fmt::Display) -> Self {
        Self::Log { why: why.to_string() }
    }

    /// An answer of the store for one object.
    pub(crate) fn of_object(path: &Path, error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::NotArchived { what: format!("object {path}") },
            error => Self::StoreUnavailable { why: error.to_string() },
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::StoreUnavailable { .. })
    }
}
