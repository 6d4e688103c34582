use std::path::PathBuf;

/// What can go wrong with a task's state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The plugin asked for a store that its graph does not name.
    #[error("there is no store '{0}'")]
    NoSuchStore(String),
    /// More uncommitted state than [`crate::DIRTY_BYTES_MAX`]: commit first.
    #[error("over {limit_bytes} bytes of state wait for a commit")]
    TooMuchUncommitted { limit_bytes: usize },
    #[error("state in {path}: {source}")]
    Storage {
        path: PathBuf,
        #[source]
        source: Box<redb::Error>,
    },
    #[error("state in {path}: {source}")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}
