//! Reading one partition for a fetch: from the local log, or from the archive what lies below it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future;
use strata_log::{ReadError, RemoteError};
use strata_protocol::Records;
use strata_protocol::messages::fetch_response::AbortedTransaction;
use strata_types::{ErrorCode, Offset};

use crate::broker::Broker;
use crate::fetch_sessions::Wanted;
use crate::partition::Partition;

/// Partitions of one request that are read from the archive at the same time; the others' turn comes with the next one.
const ARCHIVE_READS_MAX: usize = 4;

/// What is left of a request's limits.
pub(crate) struct Limits {
    pub bytes_left: usize,
    /// No partition has given a batch yet: the next one may pass the limits, so that a large batch can be read at all.
    pub nothing_yet: bool,
}

/// What reading a partition gave.
pub(crate) struct Outcome {
    pub error: Option<ErrorCode>,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    pub records: Records,
    /// For a reader of committed records: the transactions to leave out.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The records wanted are in the archive.
    pub below_local_start: bool,
}

impl Outcome {
    pub(crate) fn error(code: ErrorCode, partition: Option<&Partition>) -> Self {
        let unknown = Offset(-1);
        Self {
            error: Some(code),
            high_watermark: unknown,
            last_stable_offset: unknown,
            log_start_offset: partition.map_or(unknown, |partition| partition.log.start_offset()),
            records: Records::Bytes(Bytes::new()),
            aborted: None,
            below_local_start: false,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.records.len()
    }
}

/// Reads what the local log has.
pub(crate) fn local(partition: &Partition, wanted: &Wanted, committed: bool, limits: &mut Limits) -> Outcome {
    if let Err(code) = partition.check_epoch(wanted.current_leader_epoch) {
        return Outcome::error(code, None);
    }
    let log = &partition.log;
    let (high_watermark, last_stable_offset) = (partition.high_watermark(), log.last_stable_offset());
    let until = if committed { last_stable_offset } else { high_watermark };
    let mut outcome = Outcome {
        error: None,
        high_watermark,
        last_stable_offset,
        log_start_offset: log.start_offset(),
        records: Records::Bytes(Bytes::new()),
        aborted: committed.then(Vec::new),
        below_local_start: false,
    };
    // What is in the log and not committed yet is no error, only nothing yet.
    if wanted.from > until && wanted.from <= log.end_offset() {
        return outcome;
    }
    let bytes_max = wanted.bytes_max.min(limits.bytes_left);
    match log.read(wanted.from, bytes_max, until, limits.nothing_yet) {
        Ok(read) => {
            limits.bytes_left = limits.bytes_left.saturating_sub(read.bytes);
            limits.nothing_yet &= read.bytes == 0;
            if committed && read.bytes > 0 {
                let aborted = log.aborted_transactions(read.from, until);
                outcome.aborted = Some(aborted.iter().map(aborted_transaction).collect());
            }
            outcome.records = read.records;
            outcome
        }
        Err(ReadError::BelowLocalStart { .. }) => Outcome { below_local_start: true, ..outcome },
        Err(error) => Outcome::error(error.error_code(), Some(partition)),
    }
}

fn aborted_transaction(aborted: &strata_log::AbortedTxn) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: aborted.producer_id.0,
        first_offset: aborted.first_offset.0,
        ..Default::default()
    }
}

/// Fills in what local reads did not find and the archive has.
pub(crate) async fn from_archive(
    broker: &Arc<Broker>,
    mut outcomes: Vec<Outcome>,
    wanted: &[Wanted],
    found: &[Result<Arc<Partition>, ErrorCode>],
    bytes_max: usize,
) -> Vec<Outcome> {
    let local_bytes: usize = outcomes.iter().map(Outcome::bytes).sum();
    let mut bytes_left = bytes_max.saturating_sub(local_bytes);
    let mut reads = Vec::new();
    for (index, outcome) in outcomes.iter().enumerate().filter(|(_, outcome)| outcome.below_local_start) {
        let Ok(partition) = &found[index] else { continue };
        let limit = wanted[index].bytes_max.min(bytes_left);
        // At least one batch comes back, so each further read needs room that is really there.
        if reads.len() == ARCHIVE_READS_MAX || (limit == 0 && !(reads.is_empty() && local_bytes == 0)) {
            break;
        }
        bytes_left -= limit;
        reads.push(async move {
            let read = match &broker.remote {
                Some(remote) => remote.fetch(&partition.id, wanted[index].from, limit).await,
                None => Err(RemoteError::NotFound),
            };
            (index, outcome.log_start_offset, read)
        });
    }
    for (index, start, read) in future::join_all(reads).await {
        let partition = found[index].as_ref().ok().map(Arc::as_ref);
        match read {
            Ok(read) => outcomes[index].records = Records::Bytes(read.batches),
            // Retention may have overtaken the read.
            Err(RemoteError::NotFound)
                if wanted[index].from < partition.map_or(start, |p| p.log.start_offset()) =>
            {
                outcomes[index] = Outcome::error(ErrorCode::OffsetOutOfRange, partition);
            }
            Err(error) => {
                let partition_id = partition.map(|p| p.id.partition.to_string()).unwrap_or_default();
                tracing::warn!(partition = partition_id, from = %wanted[index].from, "the archive cannot be read: {error}");
                outcomes[index] = Outcome::error(error.error_code(), partition);
            }
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use strata_log::{Durability, LogConfig, LogManager, LogManagerOptions, RemotePartition};
    use strata_protocol::records::{BatchBuilder, BuilderOptions, Origin};
    use strata_types::{LeaderEpoch, NodeId, TopicId, TopicName, TopicPartition};
    use tempfile::TempDir;

    use super::*;
    use crate::fetch_sessions::TopicKey;

    /// A partition on a disk that flushes nothing by itself.
    fn partition(dir: &TempDir, durability: Durability) -> Arc<Partition> {
        let manager = LogManager::open(LogManagerOptions::new(dir.path(), 0)).unwrap();
        manager.flusher().close();
        let id = RemotePartition {
            topic_id: TopicId(uuid::Uuid::from_u128(7)),
            partition: TopicPartition::new(TopicName::new("t").unwrap(), 0),
        };
        let config = Arc::new(LogConfig { durability, ..LogConfig::default() });
        let log = manager.get_or_create(&id.partition, id.topic_id, config, 0).unwrap();
        let node: NodeId = 1;
        let state = strata_metadata::Partition {
            replicas: vec![node],
            isr: vec![node],
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
            leader: Some(node),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            recovering: false,
            directories: vec![uuid::Uuid::nil()],
        };
        Partition::new(id, log, manager, node, &state, Arc::default()).unwrap()
    }

    fn append(partition: &Partition) -> usize {
        let mut batch = BatchBuilder::new(BuilderOptions::default());
        batch.push_next(0, None, Some(b"value"), &[]).unwrap();
        let batch = batch.build().unwrap();
        let bytes = batch.len();
        partition.append(batch, 0, Origin::Client).unwrap();
        bytes
    }

    /// How much each kind of consumer gets from the start on.
    fn seen(partition: &Partition) -> [usize; 2] {
        [false, true].map(|committed| {
            let topic = TopicKey::Id(partition.id.topic_id);
            let (from, bytes_max) = (Offset::ZERO, usize::MAX);
            let wanted = Wanted { topic, partition: 0, current_leader_epoch: -1, from, bytes_max };
            let mut limits = Limits { bytes_left: usize::MAX, nothing_yet: true };
            let outcome = local(partition, &wanted, committed, &mut limits);
            assert_eq!(outcome.error, None);
            outcome.bytes()
        })
    }

    #[test]
    fn a_consumer_sees_nothing_that_a_crash_could_take_back() {
        let dir = tempfile::tempdir().unwrap();
        let partition = partition(&dir, Durability::Disk);
        let bytes = append(&partition);
        assert_eq!((partition.log.end_offset(), partition.high_watermark()), (Offset(1), Offset(0)));
        assert_eq!(seen(&partition), [0, 0], "written, and not on stable storage");
        partition.log.flush().unwrap();
        partition.grown();
        assert_eq!(seen(&partition), [bytes, bytes]);
        append(&partition);
        assert_eq!(seen(&partition), [bytes, bytes], "the second record is not on stable storage");
        partition.log.flush().unwrap();
        partition.grown();
        assert_eq!(seen(&partition), [2 * bytes, 2 * bytes]);
    }

    #[test]
    fn with_the_systems_durability_a_consumer_sees_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let partition = partition(&dir, Durability::Os);
        let bytes = append(&partition);
        assert_eq!(seen(&partition), [bytes, bytes]);
    }
}
