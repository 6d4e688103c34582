//! How a node's Raft talks to the other voters'.
//!
//! A quorum of one talks to nobody, so every call says that its target cannot be reached. With more voters, the three calls
//! become Kafka's own requests over the controller listener: `Vote`, `BeginQuorumEpoch`/`Fetch` and `FetchSnapshot`, whose
//! bodies are the very batches and checkpoint files that `batch` and `snapshot` make.

use openraft::EmptyNode;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use strata_types::NodeId;

use crate::raft::TypeConfig;

/// Makes connections to voters.
pub(crate) struct Network;

/// The way to one voter.
pub(crate) struct Peer {
    node_id: NodeId,
}

#[derive(Debug, thiserror::Error)]
#[error("there is no way to node {0}: the quorum has one voter")]
struct NoWay(NodeId);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, _node: &EmptyNode) -> Peer {
        Peer { node_id: target }
    }
}

impl Peer {
    fn unreachable(&self) -> Unreachable {
        Unreachable::new(&NoWay(self.node_id))
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, RPCError<NodeId, EmptyNode, RaftError<NodeId>>> {
        Err(self.unreachable().into())
    }

    async fn install_snapshot(
        &mut self,
        _request: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<NodeId>,
        RPCError<NodeId, EmptyNode, RaftError<NodeId, InstallSnapshotError>>,
    > {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<NodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, RPCError<NodeId, EmptyNode, RaftError<NodeId>>> {
        Err(self.unreachable().into())
    }
}
