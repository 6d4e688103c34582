//! Keys whose answers have tests of their own, beside the broker: here it counts that each version gets one that can be
//! read, be it an error, and that the connection stays.

use strata_protocol::messages::*;

use super::Asker;

macro_rules! ask_each {
    ($asker:ident: $($request:ident),+ $(,)?) => {
        $(for version in $asker.versions::<$request>() {
            $asker.call(version, &$request::default())?;
        })+
    };
}

/// Asks with empty requests.
pub fn ask(asker: &mut Asker) -> anyhow::Result<()> {
    ask_each!(
        asker:
        SaslHandshakeRequest,
        AddPartitionsToTxnRequest,
        AddOffsetsToTxnRequest,
        EndTxnRequest,
        WriteTxnMarkersRequest,
        TxnOffsetCommitRequest,
        AlterReplicaLogDirsRequest,
        SaslAuthenticateRequest,
        CreateDelegationTokenRequest,
        RenewDelegationTokenRequest,
        ExpireDelegationTokenRequest,
        DescribeDelegationTokenRequest,
        AlterPartitionReassignmentsRequest,
        AlterClientQuotasRequest,
        DescribeUserScramCredentialsRequest,
        AlterUserScramCredentialsRequest,
        UpdateFeaturesRequest,
        UnregisterBrokerRequest,
        DescribeTransactionsRequest,
        ListTransactionsRequest,
        ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribeRequest,
        ShareGroupHeartbeatRequest,
        ShareGroupDescribeRequest,
        ShareFetchRequest,
        ShareAcknowledgeRequest,
        AddRaftVoterRequest,
        RemoveRaftVoterRequest,
        InitializeShareGroupStateRequest,
        ReadShareGroupStateRequest,
        WriteShareGroupStateRequest,
        DeleteShareGroupStateRequest,
        ReadShareGroupStateSummaryRequest,
        StreamsGroupHeartbeatRequest,
        StreamsGroupDescribeRequest,
        DescribeShareGroupOffsetsRequest,
        AlterShareGroupOffsetsRequest,
        DeleteShareGroupOffsetsRequest,
        StreamsGroupTopologyDescriptionUpdateRequest,
        UnregisterControllerRequest,
    );
    Ok(())
}
