//! StreamsGroupTopologyDescriptionUpdate (93): a Kafka Streams application tells its topology in words (KIP-1331).
//!
//! Kafka hands it to a plugin, of which a broker has none unless one is configured. Here there is none: heartbeats never
//! ask for a description, and one that comes unasked gets the answer of such a broker.

use std::ops::RangeInclusive;

use strata_protocol::messages::{
    StreamsGroupTopologyDescriptionUpdateRequest, StreamsGroupTopologyDescriptionUpdateResponse,
};
use strata_types::ErrorCode;

use super::message;
use crate::dispatch::{Context, Handler, Refusal};
use crate::features;
use crate::security::{Operation, Resource};

const NO_PLUGIN: &str = "The broker has no streams group topology description plugin configured.";

pub(crate) struct StreamsGroupTopologyDescriptionUpdate;

impl Handler for StreamsGroupTopologyDescriptionUpdate {
    type Request = StreamsGroupTopologyDescriptionUpdateRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    async fn handle(
        cx: Context,
        request: Self::Request,
    ) -> Result<StreamsGroupTopologyDescriptionUpdateResponse, Refusal> {
        let (code, words) = if !features::serves_streams_groups(&cx.broker) {
            (ErrorCode::UnsupportedVersion, None)
        } else if !cx.allows(Operation::Read, Resource::Group(&request.group_id)) {
            (ErrorCode::GroupAuthorizationFailed, None)
        } else {
            (ErrorCode::UnsupportedVersion, message(NO_PLUGIN))
        };
        Ok(StreamsGroupTopologyDescriptionUpdateResponse {
            error_code: code.code(),
            error_message: words,
            ..Default::default()
        })
    }
}
