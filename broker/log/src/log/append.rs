//! Appending.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IoSlice;

use bytes::Bytes;
use strata_protocol::records::{
    Batch, Compression, DecompressLimit, HEADER_BYTES, InvalidBatch, Origin, Patch, RecompressError,
    TimestampType, ValidateOptions, batches, patched_header, validate,
};
use strata_types::{
    ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, VerificationGuard,
};

use super::{Log, Shared, Writer, segment_bytes_max};
use crate::config::CompressionType;
use crate::producers::{Change, TxnCheck, Verdict, path_of};
use crate::segment::{Located, Segment};
use crate::{AppendError, LogConfig, StorageError, disk};

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// Where the log ends now.
    pub end_offset: Offset,
    /// The time that all records got, under `message.timestamp.type=LogAppendTime`.
    pub append_time: Option<TimestampMs>,
    pub log_start_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub records: i64,
    pub bytes: usize,
    /// The batch was there already, from an earlier try: nothing was written, the offsets are the first try's.
    pub duplicate: bool,
}

/// A batch on its way into the log.
struct Incoming {
    batch: Batch,
    header: [u8; HEADER_BYTES],
    located: Located,
    change: Option<Change>,
}

impl Log {
    /// Appends batches: all of them or, on an error, none. Nothing is flushed; see [`crate::Flusher`].
    ///
    /// From a client or a coordinator, each batch is validated and gets its offsets, the leader epoch and, if the
    /// topic says so, the time. From a leader ([`Origin::Replica`]) the bytes are kept as they are.
    pub fn append(
        &self,
        records: Bytes,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        origin: Origin,
    ) -> Result<Appended, AppendError> {
        self.append_checked(records, leader_epoch, now, origin, TxnCheck::Off)
    }

    /// The same, where transactions are verified.
    pub fn append_checked(
        &self,
        records: Bytes,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        origin: Origin,
        txn: TxnCheck,
    ) -> Result<Appended, AppendError> {
        let appended = self.append_to_disk(records, leader_epoch, now, origin, txn);
        match &appended {
            Err(AppendError::Storage(error)) if error.is_disk_failure() => self.go_offline(error),
            Err(AppendError::Storage(error)) if error.is_disk_full() => self.folder.tell_full(error),
            _ => {}
        }
        appended
    }

    fn append_to_disk(
        &self,
        records: Bytes,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        origin: Origin,
        txn: TxnCheck,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        let config = self.config();
        let checked = check(records, &config, now, origin)?;
        let mut writer = self.writer.lock();
        if writer.closed {
            return Err(StorageError::Closed.into());
        }
        let append_time = (config.message_timestamp_type == TimestampType::LogAppendTime
            && origin != Origin::Replica)
            .then_some(now);
        let placed = self.place(&writer, checked, (leader_epoch, append_time), origin, txn)?;
        let (mut incoming, log_start_offset) = match placed {
            Placed::Duplicate(appended) => return Ok(appended),
            Placed::New(incoming, log_start_offset) => (incoming, log_start_offset),
        };
        self.make_room(&mut writer, &mut incoming, &config, now)?;
        self.write(&incoming)?;
        self.publish(&mut writer, &incoming, &config, now)?;

        let (first, last) = (&incoming[0].located.header, &incoming[incoming.len() - 1].located.header);
        Ok(Appended {
            first_offset: first.base_offset,
            last_offset: last.last_offset(),
            end_offset: last.next_offset(),
            append_time,
            log_start_offset,
            leader_epoch: last.leader_epoch,
            records: incoming.iter().map(|one| i64::from(one.located.header.records_count)).sum(),
            bytes: incoming.iter().map(|one| one.located.header.batch_bytes).sum(),
            duplicate: false,
        })
    }

    /// See [`VerificationGuard`].
    pub fn begin_verification(
        &self,
        producer: ProducerId,
        epoch: ProducerEpoch,
    ) -> Option<VerificationGuard> {
        self.writer.lock().producers.begin_verification(producer, epoch)
    }

    /// Gives every batch its offsets, and asks the producers' state whether it is news.
    fn place(
        &self,
        writer: &Writer,
        checked: Vec<(Batch, TimestampMs)>,
        (leader_epoch, append_time): (LeaderEpoch, Option<TimestampMs>),
        origin: Origin,
        txn: TxnCheck,
    ) -> Result<Placed, AppendError> {
        let shared = self.shared.read();
        let mut next = shared.end();
        let mut incoming = Vec::with_capacity(checked.len());
        for (batch, max_timestamp) in checked {
            let patch = match origin {
                Origin::Replica => keep(&batch, next)?,
                Origin::Client | Origin::Coordinator => {
                    Patch { base_offset: next, leader_epoch, append_time, max_timestamp: Some(max_timestamp) }
                }
            };
            let timestamp = append_time.unwrap_or(max_timestamp);
            let change = match writer.producers.check(&batch, patch.base_offset, origin, timestamp, txn)? {
                Verdict::New(change) => change,
                Verdict::Duplicate(first) => {
                    return Ok(Placed::Duplicate(Appended {
                        first_offset: first.first_offset(),
                        last_offset: first.last_offset,
                        end_offset: shared.end(),
                        append_time: append_time.map(|_| first.timestamp),
                        log_start_offset: shared.start,
                        leader_epoch,
                        records: i64::from(batch.header().records_count),
                        bytes: 0,
                        duplicate: true,
                    }));
                }
            };
            let header = patched_header(&batch, &patch);
            let parsed = strata_protocol::records::BatchHeader::parse(&header)?;
            next = parsed.next_offset();
            let located = Located { position: 0, header: parsed };
            incoming.push(Incoming { batch, header, located, change });
        }
        if incoming.is_empty() {
            return Err(AppendError::Empty);
        }
        Ok(Placed::New(incoming, shared.start))
    }

    /// Rolls the segment where it must, and tells the batches their positions.
    fn make_room(
        &self,
        writer: &mut Writer,
        incoming: &mut [Incoming],
        config: &LogConfig,
        now: TimestampMs,
    ) -> Result<(), AppendError> {
        let bytes: usize = incoming.iter().map(|one| one.located.header.batch_bytes).sum();
        let segment_bytes = segment_bytes_max(config);
        if bytes as u64 > segment_bytes {
            return Err(AppendError::BatchTooLarge { bytes, segment_bytes: segment_bytes as usize });
        }
        let last_offset = incoming[incoming.len() - 1].located.header.last_offset();
        let timestamp = incoming.iter().map(|one| one.located.header.max_timestamp).max().unwrap_or(-1);
        let shared = self.shared.read();
        let active = shared.active();
        let roll = active.bytes() > 0
            && (active.bytes() + bytes as u64 > segment_bytes
                || self.is_old(active, config, timestamp, now)
                || active.index_is_full(config.segment_index_bytes)
                || !active.fits(last_offset));
        drop(shared);
        if roll {
            self.roll_locked(writer, now)?;
        }
        let mut shared = self.shared.write();
        self.make_files(&mut shared, config, now)?;
        for one in incoming.iter() {
            let header = &one.located.header;
            shared.epochs.assign(header.leader_epoch, header.base_offset)?;
        }
        let active = shared.active_mut();
        active.reserve()?;
        let mut position = active.bytes();
        for one in incoming {
            one.located.position = position;
            position = one.located.end();
        }
        if !config.preallocate {
            active.keep_room(position, segment_bytes);
        }
        Ok(())
    }

    fn is_old(&self, active: &Segment, config: &LogConfig, timestamp: TimestampMs, now: TimestampMs) -> bool {
        let age = match active.first_timestamp() {
            Some(first) => timestamp.saturating_sub(first),
            None => now.saturating_sub(active.created_ms()),
        };
        // Spread by what the segment is, so that it needs no random source and holds over restarts.
        let jitter = match u64::try_from(config.segment_jitter_ms) {
            Ok(jitter @ 1..) => {
                let mut hasher = DefaultHasher::new();
                (&self.partition, active.base()).hash(&mut hasher);
                (hasher.finish() % jitter) as i64
            }
            _ => 0,
        };
        let compact_ms = if config.cleanup_policy.compact { config.max_compaction_lag_ms } else { i64::MAX };
        age > config.segment_ms.min(compact_ms).saturating_sub(jitter)
    }

    /// One positioned write for all batches: patched headers, shared bodies. If it fails, the file is cut back to what
    /// was there before.
    fn write(&self, incoming: &[Incoming]) -> Result<(), StorageError> {
        let (file, path, position) = {
            let shared = self.shared.read();
            let active = shared.active();
            (active.open()?, active.path().to_path_buf(), active.bytes())
        };
        let mut pieces: Vec<_> = incoming
            .iter()
            .flat_map(|one| [IoSlice::new(&one.header), IoSlice::new(&one.batch.bytes()[HEADER_BYTES..])])
            .collect();
        disk::write_at(&file, &path, &mut pieces, position).inspect_err(|_| {
            if let Err(error) = disk::set_len(&file, &path, position) {
                self.go_offline(&error);
            }
        })
    }

    /// Makes written batches part of the log.
    fn publish(
        &self,
        writer: &mut Writer,
        incoming: &[Incoming],
        config: &LogConfig,
        now: TimestampMs,
    ) -> Result<(), StorageError> {
        let mut shared = self.shared.write();
        shared.unflushed_since.get_or_insert(now);
        for one in incoming {
            shared.active_mut().appended(&one.located, config.index_interval_bytes);
            let applied = one.change.as_ref().map_or(Ok(()), |change| shared.apply(writer, change));
            // The batch is written, but who reads committed records would not be told of the abort.
            applied.inspect_err(|error| self.go_offline(error))?;
        }
        Ok(())
    }

    /// Closes the active segment and begins another, if there is anything in it.
    pub fn roll(&self, now: TimestampMs) -> Result<(), StorageError> {
        self.check_online()?;
        self.roll_locked(&mut self.writer.lock(), now)
    }

    pub(super) fn roll_locked(&self, writer: &mut Writer, now: TimestampMs) -> Result<(), StorageError> {
        let mut shared = self.shared.write();
        let end = shared.end();
        if shared.active().bytes() == 0 {
            return Ok(());
        }
        let dir = self.dir();
        shared.active_mut().seal()?;
        if self.config().preallocate || shared.active().has_room() {
            shared.active().give_back()?;
        }
        writer.producers.write_snapshot(&path_of(&dir, end))?;
        let segment = Segment::create(&dir, end, &self.files, now)?;
        let config = self.config();
        if config.preallocate {
            segment.preallocate(segment_bytes_max(&config))?;
        }
        shared.segments.push_back(segment);
        shared.folder_changed = true;
        Ok(())
    }
}

impl Shared {
    /// Takes a producer's batch into account.
    pub(super) fn apply(&mut self, writer: &mut Writer, change: &Change) -> Result<(), StorageError> {
        if let Change::Data { producer_id, txn_start: Some(first), .. } = change
            && !writer.producers.is_in_transaction(*producer_id)
        {
            self.transactions.begin(*first, *producer_id);
        }
        let Some(completed) = writer.producers.apply(change) else { return Ok(()) };
        let last_stable_offset = self.transactions.complete(&completed);
        if !completed.aborted {
            return Ok(());
        }
        let at = self.segment_at(completed.last_offset);
        self.segments[at].aborted(crate::AbortedTxn {
            producer_id: completed.producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.last_offset,
            last_stable_offset,
        })
    }
}

enum Placed {
    Duplicate(Appended),
    New(Vec<Incoming>, Offset),
}

/// Frames and validates the batches; with each, the largest timestamp of its records.
fn check(
    records: Bytes,
    config: &LogConfig,
    now: TimestampMs,
    origin: Origin,
) -> Result<Vec<(Batch, TimestampMs)>, AppendError> {
    let options = ValidateOptions {
        origin,
        now,
        batch_bytes_max: config.max_message_bytes,
        timestamp_type: config.message_timestamp_type,
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        keys_required: config.cleanup_policy.compact,
        decompress: DecompressLimit::default(),
    };
    let mut checked = Vec::new();
    for batch in batches(records) {
        let batch = batch?;
        let validated = validate(&batch, &options)?;
        let batch = match (origin, config.compression_type) {
            (Origin::Client, CompressionType::Codec(codec)) => recompressed(&batch, codec, config, &options)?,
            _ => batch,
        };
        checked.push((batch, validated.max_timestamp));
    }
    Ok(checked)
}

/// The batch in the topic's codec, which must still be small enough then.
fn recompressed(
    batch: &Batch,
    codec: Compression,
    config: &LogConfig,
    options: &ValidateOptions,
) -> Result<Batch, AppendError> {
    let level = config.compression_level(codec);
    let batch = batch.recompressed(codec, level, options.decompress).map_err(recompress_error)?;
    let bytes = batch.header().batch_bytes;
    if bytes > config.max_message_bytes {
        let message = format!(
            "a record batch of {bytes} bytes, compressed as {codec}, exceeds the topic's limit of {} (max.message.bytes)",
            config.max_message_bytes
        );
        return Err(InvalidBatch::new(ErrorCode::MessageTooLarge, message).into());
    }
    Ok(batch)
}

fn recompress_error(error: RecompressError) -> AppendError {
    match error {
        RecompressError::Batch(error) => error.into(),
        RecompressError::Build(error) => {
            InvalidBatch::new(ErrorCode::MessageTooLarge, error.to_string()).into()
        }
    }
}

/// A leader's batch stays as it is; it must continue the log. Compaction may have left a gap.
fn keep(batch: &Batch, end: Offset) -> Result<Patch, AppendError> {
    let header = batch.header();
    if header.base_offset < end {
        return Err(AppendError::OutOfOrderOffsets { expected: end, found: header.base_offset });
    }
    Ok(Patch {
        base_offset: header.base_offset,
        leader_epoch: header.leader_epoch,
        append_time: None,
        max_timestamp: None,
    })
}
