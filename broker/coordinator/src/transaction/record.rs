//! The records of `__transaction_state`, in Kafka's own format.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use strata_protocol::messages::transaction_log_value::PartitionsSchema;
use strata_protocol::messages::{TransactionLogKey, TransactionLogValue};
use strata_protocol::{EncodeError, Message, Str, TypedRecord};
use strata_types::{ProducerEpoch, ProducerId};

use super::api::TxnPartition;
use super::metadata::{Transaction, TransactionState};
use crate::shard::{RawRecord, ReplayError, TxnProducer};

/// What Kafka writes under `transaction.version` 1 and 2. Version 0 is read too.
const VALUE_VERSION: i16 = 1;

/// What is known of a transactional id; without a value, that it is no longer known.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionRecord {
    key: TransactionLogKey,
    value: Option<TransactionLogValue>,
}

impl TransactionRecord {
    pub(super) fn of(transactional_id: &Str, transaction: &Transaction) -> Self {
        Self { key: key(transactional_id), value: Some(value(transaction)) }
    }

    pub(super) fn tombstone(transactional_id: &Str) -> Self {
        Self { key: key(transactional_id), value: None }
    }

    pub(super) fn transactional_id(&self) -> &Str {
        &self.key.transactional_id
    }

    /// What the record says, unless it is a tombstone.
    pub(super) fn transaction(&self) -> Option<Transaction> {
        let value = self.value.as_ref()?;
        let partitions = value.transaction_partitions.iter().flatten().flat_map(|topic| {
            let name = topic.topic.detached();
            topic
                .partition_ids
                .iter()
                .map(move |partition| TxnPartition { topic: name.clone(), partition: *partition })
        });
        Some(Transaction {
            producer: TxnProducer {
                id: ProducerId(value.producer_id),
                epoch: ProducerEpoch(value.producer_epoch),
            },
            previous_producer_id: ProducerId(value.previous_producer_id),
            next_producer_id: ProducerId(value.next_producer_id),
            next_producer_epoch: ProducerEpoch(value.next_producer_epoch),
            last_epoch: ProducerEpoch::NONE,
            timeout_ms: value.transaction_timeout_ms,
            // Decoding has seen to it that there is such a state.
            state: TransactionState::by_id(value.transaction_status).unwrap_or(TransactionState::Empty),
            partitions: partitions.collect(),
            started: value.transaction_start_timestamp_ms,
            updated: value.transaction_last_update_timestamp_ms,
            client_version: value.client_transaction_version,
        })
    }

    pub(super) fn encode(&self) -> Result<RawRecord, EncodeError> {
        let value = self.value.as_ref().map(|value| value.to_bytes(VALUE_VERSION)).transpose()?;
        Ok(RawRecord {
            key: prefixed(TransactionLogKey::TYPE, &self.key.to_bytes(0)?),
            value: value.map(|value| prefixed(VALUE_VERSION, &value)),
        })
    }

    pub(super) fn decode(mut key: Bytes, value: Option<Bytes>) -> Result<Option<Self>, ReplayError> {
        let record = "TransactionLogValue";
        let kind = key.try_get_i16().map_err(|_| ReplayError::Truncated)?;
        if kind != TransactionLogKey::TYPE {
            tracing::debug!(record_type = kind, "passing over a coordinator record of another kind");
            return Ok(None);
        }
        let key = TransactionLogKey::from_bytes(key, 0)
            .map_err(|source| ReplayError::Malformed { record: "TransactionLogKey", source })?;
        let Some(mut value) = value else { return Ok(Some(Self { key, value: None })) };
        let version = value.try_get_i16().map_err(|_| ReplayError::Truncated)?;
        if !TransactionLogValue::VERSIONS.contains(&version) {
            return Err(ReplayError::UnknownVersion { record, version });
        }
        let value = TransactionLogValue::from_bytes(value, version)
            .map_err(|source| ReplayError::Malformed { record, source })?;
        if TransactionState::by_id(value.transaction_status).is_none() {
            return Err(ReplayError::UnknownState { record, state: value.transaction_status });
        }
        Ok(Some(Self { key, value: Some(value) }))
    }
}

fn key(transactional_id: &Str) -> TransactionLogKey {
    TransactionLogKey { transactional_id: transactional_id.clone() }
}

fn value(transaction: &Transaction) -> TransactionLogValue {
    let mut topics: BTreeMap<&Str, Vec<i32>> = BTreeMap::new();
    for TxnPartition { topic, partition } in &transaction.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics = topics.into_iter().map(|(topic, partition_ids)| PartitionsSchema {
        topic: topic.clone(),
        partition_ids,
        ..Default::default()
    });
    TransactionLogValue {
        producer_id: transaction.producer.id.0,
        previous_producer_id: transaction.previous_producer_id.0,
        next_producer_id: transaction.next_producer_id.0,
        producer_epoch: transaction.producer.epoch.0,
        next_producer_epoch: transaction.next_producer_epoch.0,
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state as i8,
        transaction_partitions: (transaction.state != TransactionState::Empty).then(|| topics.collect()),
        transaction_last_update_timestamp_ms: transaction.updated,
        transaction_start_timestamp_ms: transaction.started,
        client_transaction_version: transaction.client_version,
        ..Default::default()
    }
}

fn prefixed(prefix: i16, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(2 + message.len());
    bytes.put_i16(prefix);
    bytes.extend_from_slice(message);
    bytes.freeze()
}
