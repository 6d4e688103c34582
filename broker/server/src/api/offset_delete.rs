//! OffsetDelete (47): a group forgets partitions (KIP-496).

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use strata_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct OffsetDelete;

impl Handler for OffsetDelete {
    type Request = OffsetDeleteRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, mut request: Self::Request) -> Result<OffsetDeleteResponse, Refusal> {
        if let Err(code) = cx.check(Operation::Delete, Resource::Group(&request.group_id)) {
            return Ok(OffsetDeleteResponse { error_code: code.into(), ..Default::default() });
        }
        let access = cx.access();
        let mut denied = Vec::new();
        request.topics.retain(|topic| match access.check(Operation::Read, Resource::Topic(&topic.name)) {
            Ok(()) => true,
            Err(code) => {
                let partitions = topic.partitions.iter().map(|asked| OffsetDeleteResponsePartition {
                    partition_index: asked.partition_index,
                    error_code: code.into(),
                    ..Default::default()
                });
                let (name, partitions) = (topic.name.clone(), partitions.collect());
                denied.push(OffsetDeleteResponseTopic { name, partitions, ..Default::default() });
                false
            }
        });
        let group = request.group_id.clone();
        match cx.broker.groups.ask(&cx.broker, &group, GroupRequest::OffsetDelete { request }).await {
            GroupResponse::OffsetDelete(mut response) => {
                if response.error_code == 0 {
                    response.topics.extend(denied);
                }
                Ok(response)
            }
            other => Err(Refusal::not_an_answer_to("OffsetDelete", &other)),
        }
    }
}
