//! AddRaftVoter (80): changes who keeps the metadata log (KIP-853).
//!
//! - The voters are those that the node was set up with, as in a Kafka cluster whose `kraft.version` is 0, and the answer is the
//!   same as there.

use std::ops::RangeInclusive;

use strata_protocol::messages::{AddRaftVoterRequest, AddRaftVoterResponse};
use strata_types::ErrorCode;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct AddRaftVoter;

impl Handler for AddRaftVoter {
    type Request = AddRaftVoterRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<AddRaftVoterResponse, Refusal> {
        let other = request.cluster_id.filter(|id| *id != cx.broker.cluster_id);
        let (code, why) = if !cx.allows(Operation::Alter, Resource::Cluster) {
            (ErrorCode::ClusterAuthorizationFailed, None)
        } else if other.is_some() {
            (ErrorCode::InconsistentClusterId, None)
        } else {
            let why = "Cluster doesn't support adding voter because the kraft.version feature is 0";
            (ErrorCode::UnsupportedVersion, message(why))
        };
        Ok(AddRaftVoterResponse { error_code: code.into(), error_message: why, ..Default::default() })
    }
}
