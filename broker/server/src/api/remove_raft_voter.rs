//! RemoveRaftVoter (81): changes who keeps the metadata log (KIP-853).
//!
//! - The voters are those that the node was set up with, as in a Kafka cluster whose `kraft.version` is 0, and the answer is the
//!   same as there.

use std::ops::RangeInclusive;

use strata_protocol::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};

use super::add_raft_voter::voters_stay;
use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct RemoveRaftVoter;

impl Handler for RemoveRaftVoter {
    type Request = RemoveRaftVoterRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<RemoveRaftVoterResponse, Refusal> {
        let (code, why) = voters_stay(&cx, request.cluster_id, "removing");
        Ok(RemoveRaftVoterResponse { error_code: code.into(), error_message: why, ..Default::default() })
    }
}
