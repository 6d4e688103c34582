use std::io;
use std::path::{Path, PathBuf};

use strata_metadata::ApplyError;
use strata_protocol::EncodeError;
use strata_types::{ErrorCode, NodeId};

/// Why a directory does not open as this node's part of the quorum.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is in use by another process", path.display())]
    Locked { path: PathBuf },
    #[error("{} belongs to cluster {found}, not to {expected}", path.display())]
    ClusterId { path: PathBuf, expected: String, found: String },
    #[error("{} belongs to node {found}, not to {expected}", path.display())]
    NodeId { path: PathBuf, expected: NodeId, found: String },
    #[error(
        "quorums of more than one voter are not supported yet; controller.quorum.voters must be this node alone"
    )]
    ManyVoters,
    #[error("node {node_id} is not among the voters")]
    NotAVoter { node_id: NodeId },
    #[error("{}: {what}", path.display())]
    Corrupt { path: PathBuf, what: String },
    #[error("the quorum did not start: {0}")]
    Raft(String),
}

impl OpenError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }
}

/// Why records did not get into the log, or are not known to have.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    #[error("this node does not lead the quorum")]
    NotLeader { leader: Option<NodeId> },
    #[error("a record does not fit the image: {0}")]
    Unfit(#[from] ApplyError),
    #[error("a record cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    #[error("{bytes} bytes of records are more than one batch of the metadata log may hold")]
    TooLarge { bytes: usize },
    /// Also after the disk failed; the records may or may not be there when the node starts again.
    #[error("the quorum has stopped: {0}")]
    Stopped(String),
}

impl ProposeError {
    /// What a client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader { .. } | Self::Stopped(_) => ErrorCode::NotController,
            Self::TooLarge { .. } => ErrorCode::PolicyViolation,
            Self::Unfit(_) | Self::Encode(_) => ErrorCode::UnknownServerError,
        }
    }
}
