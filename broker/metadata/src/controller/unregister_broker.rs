//! UnregisterBroker (64), version 0: an operator takes a broker out of the cluster that will not come back.

use strata_protocol::messages::{UnregisterBrokerRecord, UnregisterBrokerRequest, UnregisterBrokerResponse};
use strata_types::ErrorCode;

use super::{Decision, election};
use crate::Image;

/// Removes a broker's registration. Its replicas stay assigned to it until they are moved.
pub fn unregister_broker(
    image: &Image,
    request: &UnregisterBrokerRequest,
) -> Decision<UnregisterBrokerResponse> {
    let Some(broker) = image.broker(request.broker_id) else {
        let response = UnregisterBrokerResponse {
            error_code: ErrorCode::BrokerIdNotRegistered.code(),
            error_message: Some(
                format!("Broker ID {} is not currently registered", request.broker_id).into(),
            ),
            ..Default::default()
        };
        return (Vec::new(), response);
    };
    let mut records = election::broker_gone(image, broker.id);
    let record =
        UnregisterBrokerRecord { broker_id: broker.id, broker_epoch: broker.epoch, ..Default::default() };
    records.push(record.into());
    (records, UnregisterBrokerResponse { error_message: None, ..Default::default() })
}
