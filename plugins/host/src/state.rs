//! The state that a topology's keyed nodes see.

/// The stores of a task, as its plugin reads and writes them: in batches. It is called in the middle of
/// [`TopologyInstance::process`](crate::TopologyInstance::process), on the same thread.
pub trait StateAccess: Send + Sync {
    /// The values in the keys' order.
    fn get_many(&self, store: &str, keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StateError>;

    /// All entries or none; no value deletes the key.
    fn put_many(&self, store: &str, entries: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StateError>;
}

/// Why a store could not be read or written. The plugin gets the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StateError(pub String);

/// No stores: what stateless nodes run with.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoState;

impl StateAccess for NoState {
    fn get_many(&self, store: &str, _keys: Vec<Vec<u8>>) -> Result<Vec<Option<Vec<u8>>>, StateError> {
        Err(StateError(format!("there is no store `{store}`")))
    }

    fn put_many(&self, store: &str, _entries: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), StateError> {
        Err(StateError(format!("there is no store `{store}`")))
    }
}
