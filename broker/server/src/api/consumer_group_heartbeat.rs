//! ConsumerGroupHeartbeat (68): a member of a consumer group joins (epoch 0), stays, or leaves (-1; -2 for a static
//! member that comes back), says what changed, and learns its epoch and partitions (KIP-848).
//!
//! - v0: the coordinator may choose the member's id. v1: members bring their own (KIP-1082), and may subscribe by a
//!   regular expression.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_coordinator::{GroupRequest, GroupResponse, TopicAccess};
use strata_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use strata_types::ErrorCode;
use uuid::Uuid;

use crate::coordinators::client;
use crate::dispatch::{Context, Handler, Refusal};
use crate::features;
use crate::security::{Access, Operation, Resource};

pub(crate) struct ConsumerGroupHeartbeat;

impl Handler for ConsumerGroupHeartbeat {
    type Request = ConsumerGroupHeartbeatRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    async fn handle(cx: Context, request: Self::Request) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        if !features::serves_consumer_groups(&cx.broker) {
            let error_code = ErrorCode::UnsupportedVersion.into();
            return Ok(ConsumerGroupHeartbeatResponse { error_code, ..Default::default() });
        }
        if let Err(code) = check(&cx, &request) {
            return Ok(ConsumerGroupHeartbeatResponse { error_code: code.into(), ..Default::default() });
        }
        let group = request.group_id.clone();
        let ask = GroupRequest::ConsumerGroupHeartbeat {
            request,
            client: client(&cx),
            new_member: Uuid::new_v4(),
            access: Some(Arc::new(Visible(cx.access()))),
        };
        match cx.broker.groups.ask(&cx.broker, &group, ask).await {
            GroupResponse::ConsumerGroupHeartbeat(response) => Ok(response),
            other => Err(Refusal::not_an_answer_to("ConsumerGroupHeartbeat", &other)),
        }
    }
}

/// The topics that a member may find by a regular expression.
struct Visible(Access);

impl TopicAccess for Visible {
    fn may_describe(&self, topic: &str) -> bool {
        self.0.sees(Operation::Describe, Resource::Topic(topic))
    }
}

impl fmt::Debug for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Visible")
    }
}

/// A member reads its group's offsets and sees the topics that it names.
fn check(cx: &Context, request: &ConsumerGroupHeartbeatRequest) -> Result<(), ErrorCode> {
    let access = cx.access();
    access.check(Operation::Read, Resource::Group(&request.group_id))?;
    let mut named = request.subscribed_topic_names.iter().flatten();
    named.try_for_each(|name| access.check(Operation::Describe, Resource::Topic(name)))
}
