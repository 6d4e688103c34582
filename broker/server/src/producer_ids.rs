//! Ids for idempotent producers, from blocks that the controller allocates.

use strata_metadata::controller;
use strata_protocol::messages::AllocateProducerIdsRequest;
use strata_types::{ErrorCode, ProducerId};
use tokio::sync::Mutex;

use crate::broker::Broker;

/// What is left of this broker's block.
#[derive(Default)]
pub(crate) struct ProducerIds(Mutex<std::ops::Range<i64>>);

impl ProducerIds {
    /// An id that nobody else has.
    pub(crate) async fn next(&self, broker: &Broker) -> Result<ProducerId, ErrorCode> {
        // Held while the controller decides, so that a crowd of producers takes one block and not one each.
        let mut block = self.0.lock().await;
        if let Some(id) = block.next() {
            return Ok(ProducerId(id));
        }
        let request = AllocateProducerIdsRequest {
            broker_id: broker.node_id,
            broker_epoch: broker.epoch,
            ..Default::default()
        };
        let given = broker.decide(|image| controller::allocate_producer_ids(image, &request)).await?;
        if given.error_code != ErrorCode::None.code() {
            return Err(ErrorCode::from_code(given.error_code).unwrap_or(ErrorCode::UnknownServerError));
        }
        *block = given.producer_id_start..given.producer_id_start + i64::from(given.producer_id_len);
        block.next().map(ProducerId).ok_or(ErrorCode::UnknownServerError)
    }
}
