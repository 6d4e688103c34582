//! AllocateProducerIds (67), version 0 (KIP-730): brokers take producer ids by the block.

use strata_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerIdsRecord};
use strata_types::ErrorCode;

use super::Decision;
use crate::Image;

/// How many ids a block has.
pub const PRODUCER_ID_BLOCK_LEN: i32 = 1000;

/// Hands out the next block of producer ids. Ids of a block that its broker did not use up are lost; there are enough.
pub fn allocate_producer_ids(
    image: &Image,
    request: &AllocateProducerIdsRequest,
) -> Decision<AllocateProducerIdsResponse> {
    let refuse = |code: ErrorCode| {
        let response = AllocateProducerIdsResponse { error_code: code.code(), ..Default::default() };
        (Vec::new(), response)
    };
    match image.broker(request.broker_id) {
        None => return refuse(ErrorCode::BrokerIdNotRegistered),
        Some(broker) if broker.epoch != request.broker_epoch => return refuse(ErrorCode::StaleBrokerEpoch),
        Some(_) => {}
    }
    let start = image.next_producer_id().0;
    let Some(next_producer_id) = start.checked_add(i64::from(PRODUCER_ID_BLOCK_LEN)) else {
        return refuse(ErrorCode::UnknownServerError);
    };
    let record = ProducerIdsRecord {
        broker_id: request.broker_id,
        broker_epoch: request.broker_epoch,
        next_producer_id,
        ..Default::default()
    };
    let response = AllocateProducerIdsResponse {
        producer_id_start: start,
        producer_id_len: PRODUCER_ID_BLOCK_LEN,
        ..Default::default()
    };
    (vec![record.into()], response)
}
