//! What can be said of a ConsumerGroupHeartbeat alone, without the group.

use strata_protocol::Str;
use strata_protocol::messages::ConsumerGroupHeartbeatRequest;
use strata_types::ErrorCode;

use crate::group::ConsumerConfig;
use crate::group::kind::Failure;
use crate::group::modern::{JOIN_EPOCH, LEAVE_EPOCH, STATIC_LEAVE_EPOCH};

/// From here on a member makes its id itself (KIP-1082).
const VERSION_WITH_OWN_MEMBER_ID: i16 = 1;

pub(super) fn validate(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    config: &ConsumerConfig,
) -> Result<(), Failure> {
    let epoch = request.member_epoch;
    let needs_id = version >= VERSION_WITH_OWN_MEMBER_ID || epoch > 0 || epoch == LEAVE_EPOCH;
    if needs_id {
        not_empty(Some(&request.member_id), "MemberId")?;
    }
    not_empty(Some(&request.group_id), "GroupId")?;
    not_empty(request.instance_id.as_ref(), "InstanceId")?;
    not_empty(request.rack_id.as_ref(), "RackId")?;
    match epoch {
        JOIN_EPOCH => validate_join(request)?,
        STATIC_LEAVE_EPOCH if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        ..STATIC_LEAVE_EPOCH => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    if bytes(request) > config.member_bytes_max {
        return invalid("The member's subscription is too large.");
    }
    match &request.server_assignor {
        Some(name) if !config.assignors.iter().any(|known| known == name.as_str()) => {
            let known = config.assignors.join(", ");
            let message = format!("ServerAssignor {name} is not supported. Supported assignors: {known}.");
            Err(Failure::new(ErrorCode::UnsupportedAssignor, message))
        }
        _ => Ok(()),
    }
}

fn validate_join(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Failure> {
    if request.rebalance_timeout_ms == -1 {
        invalid("RebalanceTimeoutMs must be provided in first request.")
    } else if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) {
        invalid("TopicPartitions must be empty when (re-)joining.")
    } else if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
    } else {
        Ok(())
    }
}

fn not_empty(value: Option<&Str>, name: &str) -> Result<(), Failure> {
    match value {
        Some(value) if value.trim().is_empty() => invalid(&format!("{name} can't be empty.")),
        _ => Ok(()),
    }
}

fn invalid(message: &str) -> Result<(), Failure> {
    Err(Failure::new(ErrorCode::InvalidRequest, message))
}

/// What the member's record would cost.
fn bytes(request: &ConsumerGroupHeartbeatRequest) -> usize {
    const NAME_OVERHEAD_BYTES: usize = 4;
    let names = request.subscribed_topic_names.iter().flatten();
    let texts =
        [&request.instance_id, &request.rack_id, &request.subscribed_topic_regex, &request.server_assignor];
    let texts = texts.into_iter().flatten().chain([&request.member_id, &request.group_id]);
    names.chain(texts).map(|text| text.len() + NAME_OVERHEAD_BYTES).sum()
}
