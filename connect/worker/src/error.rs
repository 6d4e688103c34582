//! What a worker answers when it cannot do what it is asked for.

use crate::cluster::ClusterError;

/// The REST API turns these into its codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// 404
    #[error("{0}")]
    NotFound(String),
    /// 409
    #[error("{0}")]
    Conflict(String),
    /// 400
    #[error("{0}")]
    Invalid(String),
    /// 500
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// 500
    #[error("{0}")]
    Internal(String),
}

impl WorkerError {
    pub(crate) fn no_connector(name: &str) -> Self {
        WorkerError::NotFound(format!("Connector {name} not found"))
    }
}
