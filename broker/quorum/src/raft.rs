//! The types by which Raft knows us.

use std::io::Cursor;

use bytes::Bytes;
use openraft::EmptyNode;
use strata_types::NodeId;

/// What is proposed: encoded metadata records, which get into the log and into the image together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) Vec<Bytes>);

openraft::declare_raft_types!(
    /// Voters are known by their ids; where they listen is configuration, not state.
    pub(crate) TypeConfig:
        D = Command,
        R = (),
        NodeId = NodeId,
        Node = EmptyNode,
        SnapshotData = Cursor<Vec<u8>>,
);

pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type EntryPayload = openraft::EntryPayload<TypeConfig>;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type Membership = openraft::Membership<NodeId, EmptyNode>;
pub(crate) type Raft = openraft::Raft<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<NodeId, EmptyNode>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;
pub(crate) type StoredMembership = openraft::StoredMembership<NodeId, EmptyNode>;
pub(crate) type Vote = openraft::Vote<NodeId>;

/// The id of the entry at `index` that a leader of `term` wrote. A term has one leader, so its node is not part of the id.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(term, NodeId::default()), index)
}
