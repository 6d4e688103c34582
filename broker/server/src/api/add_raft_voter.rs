//! AddRaftVoter (80): changes who keeps the metadata log (KIP-853).
//!
//! - The voters are those that the node was set up with, as in a Kafka cluster whose `kraft.version` is 0, and the answer is the
//!   same as there.

use std::ops::RangeInclusive;

use strata_protocol::Str;
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
        let (code, why) = voters_stay(&cx, request.cluster_id, "adding");
        Ok(AddRaftVoterResponse { error_code: code.into(), error_message: why, ..Default::default() })
    }
}

/// Why the voters are not changed.
pub(super) fn voters_stay(cx: &Context, cluster_id: Option<Str>, change: &str) -> (ErrorCode, Option<Str>) {
    if !cx.allows(Operation::Alter, Resource::Cluster) {
        return (ErrorCode::ClusterAuthorizationFailed, None);
    }
    if cluster_id.is_some_and(|id| id != cx.broker.cluster_id) {
        return (ErrorCode::InconsistentClusterId, None);
    }
    let why = format!("Cluster doesn't support {change} voter because the kraft.version feature is 0");
    (ErrorCode::UnsupportedVersion, message(why))
}
