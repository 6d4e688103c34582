//! OffsetDelete (47): a group forgets partitions (KIP-496).

use std::ops::RangeInclusive;

use strata_coordinator::{GroupRequest, GroupResponse};
use strata_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::dispatch::{Context, Handler, Refusal};

pub(crate) struct OffsetDelete;

impl Handler for OffsetDelete {
    type Request = OffsetDeleteRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(cx: Context, request: Self::Request) -> Result<OffsetDeleteResponse, Refusal> {
        let group = request.group_id.clone();
        match cx.broker.groups.ask(&cx.broker, &group, GroupRequest::OffsetDelete { request }).await {
            GroupResponse::OffsetDelete(response) => Ok(response),
            other => Err(Refusal::not_an_answer_to("OffsetDelete", &other)),
        }
    }
}
