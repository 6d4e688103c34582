//! One Fetch: its request, and its answer decoded to records that the isolation level lets through.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use strata_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use strata_protocol::messages::fetch_response::PartitionData;
use strata_protocol::messages::{FetchRequest, FetchResponse};
use strata_protocol::records::{Batch, BatchError, ControlType, DecompressLimit, batches};
use strata_types::{LeaderEpoch, Offset, ProducerId, TopicName, TopicPartition};

use super::{ConsumerOptions, ConsumerRecord};
use crate::error::{ClientError, Result};

/// A partition and from where it is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) partition: TopicPartition,
    pub(crate) from: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
}

/// What one partition gave.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) records: VecDeque<ConsumerRecord>,
    /// From where to go on once they are consumed: past what was left out, too.
    pub(crate) next: Offset,
}

pub(crate) fn request(wanted: &[Wanted], options: &ConsumerOptions) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for one in wanted {
        let partition = FetchPartition {
            partition: one.partition.partition,
            current_leader_epoch: one.leader_epoch.0,
            fetch_offset: one.from.0,
            partition_max_bytes: options.partition_fetch_bytes_max,
            ..Default::default()
        };
        match topics.iter_mut().find(|topic| topic.topic == *one.partition.topic.as_str()) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: one.partition.topic.as_str().into(),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    FetchRequest {
        max_wait_ms: options.fetch_wait_ms_max,
        min_bytes: options.fetch_bytes_min,
        max_bytes: options.fetch_bytes_max,
        isolation_level: i8::from(options.read_committed),
        topics,
        ..Default::default()
    }
}

/// Each wanted partition's records or error. A partition that the answer lacks is left out.
pub(crate) fn decode(
    answer: &FetchResponse,
    wanted: &[Wanted],
    read_committed: bool,
) -> Vec<(TopicPartition, Result<Fetched>)> {
    let mut outcomes = Vec::new();
    for topic in &answer.responses {
        let Ok(name) = TopicName::new(&topic.topic) else { continue };
        for data in &topic.partitions {
            let partition = TopicPartition::new(name.clone(), data.partition_index);
            if let Some(one) = wanted.iter().find(|one| one.partition == partition) {
                let outcome = decode_partition(data, one, read_committed);
                outcomes.push((partition, outcome));
            }
        }
    }
    outcomes
}

fn decode_partition(data: &PartitionData, wanted: &Wanted, read_committed: bool) -> Result<Fetched> {
    ClientError::check_with(data.error_code, Some(&wanted.partition.to_string()))?;
    let bytes = match &data.records {
        Some(records) => records.to_bytes().unwrap_or_default(), // a decoded message has no file ranges
        None => Bytes::new(),
    };
    let mut aborted = Aborted::new(data, read_committed);
    let mut fetched = Fetched { records: VecDeque::new(), next: wanted.from };
    let corrupt = |error: &BatchError| ClientError::CorruptBatch {
        partition: wanted.partition.clone(),
        reason: error.to_string(),
    };
    let is_empty = bytes.is_empty();
    for batch in batches(bytes) {
        let batch = match batch {
            Ok(batch) => batch,
            // A broker cuts where the limit is; the rest comes with the next answer.
            Err(BatchError::Truncated { .. }) if fetched.next > wanted.from => break,
            Err(error) => return Err(corrupt(&error)),
        };
        batch.check_crc().map_err(|e| corrupt(&e))?;
        if !aborted.hides(&batch).map_err(|e| corrupt(&e))? {
            take_records(&batch, wanted, &mut fetched.records).map_err(|e| corrupt(&e))?;
        }
        fetched.next = fetched.next.max(batch.next_offset());
    }
    debug_assert!(is_empty || fetched.next > wanted.from || fetched.records.is_empty());
    Ok(fetched)
}

/// A batch may start before the offset that was asked for.
fn take_records(
    batch: &Batch,
    wanted: &Wanted,
    records: &mut VecDeque<ConsumerRecord>,
) -> std::result::Result<(), BatchError> {
    let leader_epoch = batch.header().leader_epoch;
    for record in batch.records(DecompressLimit::default())? {
        let record = record?;
        if record.offset < wanted.from.0 {
            continue;
        }
        records.push_back(ConsumerRecord {
            topic: wanted.partition.topic.clone(),
            partition: wanted.partition.partition,
            offset: Offset(record.offset),
            timestamp: record.timestamp,
            leader_epoch,
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
    }
    Ok(())
}

/// The transactions that were aborted within what was fetched. With their list, read in step with the batches, it is
/// known of each batch whether it belongs to one (KIP-98).
struct Aborted {
    /// By first offset, ascending.
    ahead: VecDeque<(Offset, ProducerId)>,
    open: HashSet<ProducerId>,
}

impl Aborted {
    fn new(data: &PartitionData, read_committed: bool) -> Self {
        let listed = data.aborted_transactions.as_deref().filter(|_| read_committed).unwrap_or_default();
        let mut ahead: Vec<_> =
            listed.iter().map(|one| (Offset(one.first_offset), ProducerId(one.producer_id))).collect();
        ahead.sort();
        Self { ahead: ahead.into(), open: HashSet::new() }
    }

    /// Whether no consumer may see the batch: it is a marker, or of an aborted transaction.
    fn hides(&mut self, batch: &Batch) -> std::result::Result<bool, BatchError> {
        while let Some((_, producer)) = self.ahead.pop_front_if(|(first, _)| *first <= batch.last_offset()) {
            self.open.insert(producer);
        }
        let header = batch.header();
        if header.is_control() {
            if let Some(marker) = batch.records(DecompressLimit::default())?.next()
                && ControlType::of(&marker?) == Some(ControlType::Abort)
            {
                self.open.remove(&header.producer_id);
            }
            return Ok(true);
        }
        Ok(header.is_transactional() && self.open.contains(&header.producer_id))
    }
}

#[cfg(test)]
mod tests {
    use strata_protocol::messages::fetch_response::AbortedTransaction;
    use strata_protocol::records::{BatchBuilder, BuilderOptions, EndTxnMarker, end_transaction_marker};
    use strata_types::ProducerEpoch;

    use super::*;

    fn batch(base: i64, values: &[&str], producer: i64, transactional: bool) -> Bytes {
        let mut builder = BatchBuilder::new(BuilderOptions {
            base_offset: Offset(base),
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 0,
            transactional,
            ..BuilderOptions::default()
        });
        for value in values {
            builder.push_next(0, None, Some(value.as_bytes()), &[]).unwrap();
        }
        builder.build().unwrap()
    }

    fn marker(base: i64, producer: i64, commit: bool) -> Bytes {
        end_transaction_marker(&EndTxnMarker {
            base_offset: Offset(base),
            leader_epoch: LeaderEpoch(0),
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            commit,
            coordinator_epoch: 0,
            timestamp: 0,
        })
        .unwrap()
    }

    fn fetch(
        from: i64,
        parts: &[Bytes],
        aborted: &[(i64, i64)],
        read_committed: bool,
    ) -> Result<(Vec<String>, i64)> {
        let aborted = aborted.iter().map(|(producer, first)| AbortedTransaction {
            producer_id: *producer,
            first_offset: *first,
            ..Default::default()
        });
        let data = PartitionData {
            records: Some(Bytes::from(parts.concat()).into()),
            aborted_transactions: Some(aborted.collect()),
            ..Default::default()
        };
        let partition = TopicPartition::new(TopicName::new("t").unwrap(), 0);
        let wanted = Wanted { partition, from: Offset(from), leader_epoch: LeaderEpoch(0) };
        let fetched = decode_partition(&data, &wanted, read_committed)?;
        let text = |record: ConsumerRecord| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        Ok((fetched.records.into_iter().map(text).collect(), fetched.next.0))
    }

    #[test]
    fn a_batch_that_starts_earlier_is_read_from_the_offset_wanted() {
        let parts = [batch(10, &["a", "b", "c"], -1, false)];
        assert_eq!(fetch(11, &parts, &[], false).unwrap(), (vec!["b".into(), "c".into()], 13));
    }

    #[test]
    fn aborted_transactions_are_seen_only_by_those_who_read_uncommitted() {
        let parts = [
            batch(0, &["aborted"], 7, true),
            batch(1, &["other"], 8, true),
            batch(2, &["plain"], -1, false),
            marker(3, 7, false),
            batch(4, &["committed"], 7, true),
            marker(5, 8, true),
            marker(6, 7, true),
        ];
        let (committed, next) = fetch(0, &parts, &[(7, 0)], true).unwrap();
        assert_eq!((committed.join(" "), next), ("other plain committed".into(), 7));
        let (all, _) = fetch(0, &parts, &[(7, 0)], false).unwrap();
        assert_eq!(all.join(" "), "aborted other plain committed");
    }

    #[test]
    fn a_cut_batch_at_the_end_is_left_for_the_next_answer() {
        let cut = batch(1, &["b"], -1, false).slice(..65);
        assert_eq!(fetch(0, &[batch(0, &["a"], -1, false), cut.clone()], &[], false).unwrap().1, 1);
        assert!(matches!(fetch(1, &[cut], &[], false), Err(ClientError::CorruptBatch { .. })));
    }

    #[test]
    fn a_batch_with_a_wrong_checksum_is_refused() {
        let mut bytes = batch(0, &["value"], -1, false).to_vec();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        assert!(matches!(fetch(0, &[bytes.into()], &[], false), Err(ClientError::CorruptBatch { .. })));
    }
}
