//! Records of one partition that travel together, and those who wait to hear of them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strata_protocol::records::{BatchBuilder, BuilderOptions, Compression, Header, set_producer};
use strata_types::{Offset, ProducerEpoch, ProducerId, TimestampMs, TopicPartition};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::RecordMetadata;
use crate::error::{ClientError, Result};

/// Who we are to the brokers, in whose name sequences are counted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
}

/// Where a batch stands in its producer's order. It keeps it over retries, so that a broker knows a duplicate.
#[derive(Clone, Debug)]
pub(crate) struct Sequenced {
    pub(crate) identity: Arc<Identity>,
    pub(crate) base_sequence: i32,
}

/// Belongs to the producer from the first record to the acknowledgement: nobody else can touch its buffer.
pub(crate) struct Batch {
    /// Rises in the order in which batches were opened.
    pub(crate) id: u64,
    pub(crate) opened: Instant,
    /// When it is given up.
    pub(crate) deadline: Instant,
    pub(crate) sequenced: Option<Sequenced>,
    /// Whether it may already be in a log.
    pub(crate) was_sent: bool,
    /// What it occupies of the producer's buffer.
    pub(crate) charged_bytes: usize,
    content: Content,
    waiting: Vec<Waiting>,
}

enum Content {
    Open(BatchBuilder),
    Sealed(Bytes),
}

struct Waiting {
    timestamp: TimestampMs,
    answer: oneshot::Sender<Result<RecordMetadata>>,
}

/// A record's parts as they go into a batch.
pub(crate) struct Parts<'a> {
    pub(crate) timestamp: TimestampMs,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header],
}

impl Parts<'_> {
    /// At most what it adds to a batch, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        BatchBuilder::size_of(self.key, self.value, self.headers)
    }
}

impl Batch {
    pub(crate) fn new(id: u64, opened: Instant, deadline: Instant, compression: Compression) -> Self {
        let builder = BatchBuilder::new(BuilderOptions { compression, ..BuilderOptions::default() });
        Self {
            id,
            opened,
            deadline,
            sequenced: None,
            was_sent: false,
            charged_bytes: 0,
            content: Content::Open(builder),
            waiting: Vec::new(),
        }
    }

    pub(crate) fn records_count(&self) -> i32 {
        self.waiting.len() as i32
    }

    /// Its size, before compression while it is open.
    pub(crate) fn bytes_len(&self) -> usize {
        match &self.content {
            Content::Open(builder) => builder.bytes_len(),
            Content::Sealed(bytes) => bytes.len(),
        }
    }

    /// Whether a record of this size still goes in.
    pub(crate) fn has_room(&self, bytes: usize, batch_bytes_max: usize) -> bool {
        matches!(&self.content, Content::Open(builder) if builder.is_empty() || builder.bytes_len() + bytes <= batch_bytes_max)
    }

    /// Adds a record, and returns what its sender waits on.
    pub(crate) fn push(&mut self, record: &Parts<'_>) -> Result<oneshot::Receiver<Result<RecordMetadata>>> {
        let Content::Open(builder) = &mut self.content else {
            return Err(ClientError::InvalidRecord("its batch is sealed".into()));
        };
        builder
            .push_next(record.timestamp, record.key, record.value, record.headers)
            .map_err(|error| ClientError::InvalidRecord(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        self.waiting.push(Waiting { timestamp: record.timestamp, answer });
        Ok(answered)
    }

    /// The batch as it is to be sent: compressed, with its place in the producer's order. The bytes are shared with the
    /// batch until it comes back.
    pub(crate) fn seal(&mut self) -> Result<Bytes> {
        let invalid = |error: &dyn std::fmt::Display| ClientError::InvalidRecord(error.to_string());
        let placeholder = Content::Sealed(Bytes::new());
        let sealed = match std::mem::replace(&mut self.content, placeholder) {
            Content::Open(builder) => builder.build().map_err(|e| invalid(&e))?,
            Content::Sealed(bytes) => bytes,
        };
        let sealed = match &self.sequenced {
            Some(Sequenced { identity, base_sequence }) => {
                let mut bytes = sealed.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                set_producer(&mut bytes, identity.producer_id, identity.epoch, *base_sequence)
                    .map_err(|e| invalid(&e))?;
                bytes.freeze()
            }
            None => sealed,
        };
        self.content = Content::Sealed(sealed.clone());
        Ok(sealed)
    }

    /// Tells everybody who waits where their record is. `base` is -1 when a broker knows only that it has it.
    pub(crate) fn acknowledge(
        self,
        partition: &TopicPartition,
        base: Offset,
        append_time: Option<TimestampMs>,
    ) {
        for (index, waiting) in self.waiting.into_iter().enumerate() {
            let offset = if base.0 < 0 { base } else { base + index as i64 };
            let timestamp = append_time.unwrap_or(waiting.timestamp);
            let metadata = RecordMetadata { partition: partition.clone(), offset, timestamp };
            let _ = waiting.answer.send(Ok(metadata));
        }
    }

    /// Tells everybody who waits that it failed.
    pub(crate) fn fail(self, error: &ClientError) {
        for waiting in self.waiting {
            let _ = waiting.answer.send(Err(error.clone()));
        }
    }
}
