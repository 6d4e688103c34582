//! ShareAcknowledge (79): a member's word on records that it acquired, without a fetch (KIP-932).
//!
//! - Per partition all of it is taken or nothing; the answer goes out once it is stored.
//! - The epoch is that of the member's share session, which must be there: 0 is refused, −1 ends it, and what the member
//!   still holds is free again.
//! - v2: `is_renew_ack` (KIP-1222) allows the type that renews locks; the answer says how long locks last.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use strata_coordinator::share::partition::AcknowledgementBatch;
use strata_coordinator::share::sessions::{FINAL_EPOCH, SessionPartition};
use strata_protocol::messages::share_acknowledge_response::{
    LeaderIdAndEpoch, PartitionData, ShareAcknowledgeTopicResponse,
};
use strata_protocol::messages::{ShareAcknowledgeRequest, ShareAcknowledgeResponse};
use strata_types::{ErrorCode, TopicId};

use super::share_fetch::{leader, may_read, session_key};
use crate::dispatch::{Context, Handler, Refusal};
use crate::share::{Failure, Outcomes, ShareSettings, acknowledgements};

pub(crate) struct ShareAcknowledge;

/// What a request says of records, by partition; or why that partition's is not even looked at.
pub(super) type Acknowledged = Vec<(SessionPartition, Result<Vec<AcknowledgementBatch>, ErrorCode>)>;

impl Handler for ShareAcknowledge {
    type Request = ShareAcknowledgeRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<ShareAcknowledgeResponse, Refusal> {
        let settings = ShareSettings::of(&cx.broker, request.group_id.as_deref().unwrap_or_default());
        let mut response = match acknowledge(&cx, request).await {
            Ok(response) => response,
            Err(code) => ShareAcknowledgeResponse { error_code: code.into(), ..Default::default() },
        };
        response.acquisition_lock_timeout_ms = settings.limits.lock_duration_ms;
        Ok(response)
    }
}

async fn acknowledge(
    cx: &Context,
    mut request: ShareAcknowledgeRequest,
) -> Result<ShareAcknowledgeResponse, ErrorCode> {
    let share = &cx.broker.share;
    let session = session_key(cx, request.group_id.take(), request.member_id.take())?;
    let is_final = request.share_session_epoch == FINAL_EPOCH;
    {
        let mut sessions = share.sessions.lock();
        match is_final {
            true if !sessions.contains(&session) => return Err(ErrorCode::ShareSessionNotFound),
            true => {}
            false => sessions.touch(&session, request.share_session_epoch)?,
        }
    }
    let mut acknowledged: Acknowledged = Vec::new();
    for topic in &request.topics {
        let id = TopicId(topic.topic_id);
        let is_allowed = may_read(cx, id);
        for partition in &topic.partitions {
            let batches = match is_allowed {
                true => acknowledgements(&partition.acknowledgement_batches, request.is_renew_ack),
                false => Err(ErrorCode::TopicAuthorizationFailed),
            };
            acknowledged.push(((id, partition.partition_index), batches));
        }
    }
    let outcomes = share.acknowledge(&cx.broker, &session, acknowledged).await;
    if is_final {
        share.end_session(&session).await;
    }
    Ok(respond(cx, outcomes))
}

fn respond(cx: &Context, outcomes: Outcomes) -> ShareAcknowledgeResponse {
    let mut responses: Vec<ShareAcknowledgeTopicResponse> = Vec::new();
    let mut places: HashMap<TopicId, usize> = HashMap::new();
    for ((topic, partition_index), outcome) in outcomes {
        let at = *places.entry(topic).or_insert_with(|| {
            responses.push(ShareAcknowledgeTopicResponse { topic_id: topic.0, ..Default::default() });
            responses.len() - 1
        });
        let (leader_id, leader_epoch) = leader(&cx.broker, topic, partition_index);
        let mut data = PartitionData {
            partition_index,
            current_leader: LeaderIdAndEpoch { leader_id, leader_epoch, ..Default::default() },
            ..Default::default()
        };
        if let Err(Failure { code, message }) = outcome {
            (data.error_code, data.error_message) = (code.into(), message);
        }
        responses[at].partitions.push(data);
    }
    ShareAcknowledgeResponse { responses, ..Default::default() }
}
