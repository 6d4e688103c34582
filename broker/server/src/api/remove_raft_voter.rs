//! RemoveRaftVoter (81): changes who keeps the metadata log (KIP-853).
//!
//! - The voters are those that the node was set up with, as in a Kafka cluster whose `kraft.version` is 0, and the answer is the
//!   same as there.

use std::ops::RangeInclusive;

use strata_protocol::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};
use strata_types::ErrorCode;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct RemoveRaftVoter;

impl Handler for RemoveRaftVoter {
    type Request = RemoveRaftVoterRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<RemoveRaftVoterResponse, Refusal> {
        let other = request.cluster_id.filter(|id| *id != cx.broker.cluster_id);
        let (code, why) = if !cx.allows(Operation::Alter, Resource::Cluster) {
            (ErrorCode::ClusterAuthorizationFailed, None)
        } else if other.is_some() {
            (ErrorCode::InconsistentClusterId, None)
        } else {
            let why = "Cluster doesn't support removing voter because the kraft.version feature is 0";
            (ErrorCode::UnsupportedVersion, message(why))
        };
        Ok(RemoveRaftVoterResponse { error_code: code.into(), error_message: why, ..Default::default() })
    }
}
