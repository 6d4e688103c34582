use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strata_archive::{
    ArchiveError, Footer, PartitionRange, RebuildOptions, RowGroup, gap_batch, rebuild, row_groups_from,
};
use strata_protocol::records::{Batch, DecompressLimit};
use strata_types::{LeaderEpoch, Offset, TimestampMs};
use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::error::StoreError;
use crate::index::{IndexEntry, PartitionKey, TierIndex};
use crate::objects::Store;

/// How much memory and how many requests cold reads may take.
#[derive(Debug, Clone)]
pub struct ColdOptions {
    /// Rebuilt row groups that are kept.
    pub cache_bytes_max: usize,
    /// Parsed footers that are kept.
    pub footer_cache_bytes_max: usize,
    /// Row groups that are fetched and rebuilt at a time; each takes some three times its 16 MiB meanwhile.
    pub reads_max: usize,
    pub rebuild: RebuildOptions,
}

impl Default for ColdOptions {
    fn default() -> Self {
        Self {
            cache_bytes_max: 128 << 20,
            footer_cache_bytes_max: 16 << 20,
            reads_max: 4,
            rebuild: RebuildOptions::default(),
        }
    }
}

/// Batches from the archive.
#[derive(Debug, Clone)]
pub struct ColdRead {
    /// At least one whole batch; the first one holds or follows the offset that was asked for.
    pub batches: Bytes,
    /// Where to go on.
    pub next_offset: Offset,
}

/// A record's place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampedOffset {
    pub timestamp: TimestampMs,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

/// Reads records out of the archive: index → ranged GET of a row group → batches, off the caller's thread.
pub struct ColdReader {
    store: Store,
    index: Arc<TierIndex>,
    options: ColdOptions,
    groups: Cache<(String, usize), GroupBatches>,
    footers: Cache<String, Footer>,
    reads: Semaphore,
}

/// A row group's batches, one after the other in one buffer, so that a fetch is a slice of it.
struct GroupBatches {
    bytes: Bytes,
    places: Vec<Place>,
}

struct Place {
    last_offset: Offset,
    max_timestamp: TimestampMs,
    from: usize,
    to: usize,
}

impl ColdReader {
    pub fn new(store: Store, index: Arc<TierIndex>, options: ColdOptions) -> Arc<Self> {
        Arc::new(Self {
            store,
            index,
            groups: Cache::new(options.cache_bytes_max, |group| group.bytes.len()),
            footers: Cache::new(options.footer_cache_bytes_max, Footer::memory_bytes),
            reads: Semaphore::new(options.reads_max.max(1)),
            options,
        })
    }

    /// Batches from `from` on: about `max_bytes` of them, at least one, and none beyond a row group. Where of a range's
    /// end only aborted records were left out, a control batch stands for them, so that a consumer gets on.
    pub async fn fetch(
        self: &Arc<Self>,
        partition: PartitionKey,
        from: Offset,
        max_bytes: usize,
    ) -> Result<ColdRead, StoreError> {
        let Some(entry) = self.index.entry_at(partition, from) else {
            let what = format!("offset {from} of partition {}", partition.partition);
            return Err(StoreError::NotArchived { what });
        };
        for group in row_groups_from(&entry.range, from, u64::MAX) {
            let batches = self.load(&entry, group).await?;
            let Some((range, last)) = batches.range_from(from, max_bytes) else { continue };
            let past_half = range.end * 2 > batches.bytes.len();
            if past_half {
                self.prefetch_after(&entry, group);
            }
            let ends_range = last >= entry.range.row_groups.last().map_or(last, |group| group.last_offset);
            let next_offset = if ends_range { entry.range.end_offset } else { last.next() };
            return Ok(ColdRead { batches: batches.bytes.slice(range), next_offset });
        }
        gap_after(&entry.range, from)
    }

    /// The first record at or after offset `from` whose timestamp is at least `timestamp`.
    pub async fn offset_for_timestamp(
        self: &Arc<Self>,
        partition: PartitionKey,
        timestamp: TimestampMs,
        from: Offset,
    ) -> Result<Option<TimestampedOffset>, StoreError> {
        for entry in self.index.entries(partition) {
            if entry.range.end_offset <= from || entry.range.max_timestamp < timestamp {
                continue;
            }
            let groups = row_groups_from(&entry.range, from, u64::MAX);
            for group in groups.iter().filter(|group| group.max_timestamp >= timestamp) {
                let batches = self.load(&entry, group).await?;
                if let Some(found) = batches.first_at(timestamp, from, &entry.object)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp, from the index alone.
    pub fn max_timestamp(&self, partition: PartitionKey) -> Option<TimestampedOffset> {
        let entries = self.index.entries(partition);
        let ranges = entries.iter().map(|entry| &entry.range).filter(|range| range.rows > 0);
        // Of equals the first: `max_by_key` would take the last.
        let range = ranges.reduce(|a, b| if b.max_timestamp > a.max_timestamp { b } else { a })?;
        Some(TimestampedOffset {
            timestamp: range.max_timestamp,
            offset: range.max_timestamp_offset,
            leader_epoch: range.leader_epoch(range.max_timestamp_offset).unwrap_or(LeaderEpoch::UNKNOWN),
        })
    }

    async fn load(&self, entry: &IndexEntry, group: &RowGroup) -> Result<Arc<GroupBatches>, StoreError> {
        let key = (entry.object.clone(), group.index);
        let loaded = self.groups.get_or_load(&key, || async {
            let _permit = self.reads.acquire().await.map_err(|_| closed())?;
            self.load_uncached(entry, group).await
        });
        loaded.await.map_err(|error| match error {
            // The index still says that it is there.
            StoreError::NotArchived { .. } if self.index.get(entry.key()).is_some() => {
                StoreError::corrupt(&entry.object, "the object is gone")
            }
            error => error,
        })
    }

    async fn load_uncached(&self, entry: &IndexEntry, group: &RowGroup) -> Result<GroupBatches, StoreError> {
        let footer = self.footer(entry).await?;
        let range = group.file_offset..group.file_offset.saturating_add(group.bytes);
        let bytes = self.store.get_range(&entry.object, range).await?;
        let (group, options) = (group.clone(), self.options.rebuild.clone());
        let rebuilt =
            tokio::task::spawn_blocking(move || GroupBatches::rebuild(&footer, &group, bytes, &options));
        rebuilt.await.map_err(|_| closed())?.map_err(|error| StoreError::corrupt(&entry.object, error))
    }

    async fn footer(&self, entry: &IndexEntry) -> Result<Arc<Footer>, StoreError> {
        let load = || async {
            let range = entry.object_bytes - entry.footer_bytes..entry.object_bytes;
            let bytes = self.store.get_range(&entry.object, range).await?;
            Footer::parse(&bytes, entry.object_bytes)
                .map_err(|error| StoreError::corrupt(&entry.object, error))
        };
        self.footers.get_or_load(&entry.object, load).await
    }

    /// A consumer that reads on will want the next row group: have it ready, if there is room for one more read.
    fn prefetch_after(self: &Arc<Self>, entry: &Arc<IndexEntry>, group: &RowGroup) {
        let following = row_groups_from(&entry.range, group.last_offset.next(), 0).first().cloned();
        let (entry, group) = match following {
            Some(group) => (entry.clone(), group),
            None => {
                let Some(entry) = self.index.entry_at(entry.partition(), entry.range.end_offset) else {
                    return;
                };
                let Some(group) = entry.range.row_groups.first().cloned() else { return };
                (entry, group)
            }
        };
        let wanted = !self.groups.contains(&(entry.object.clone(), group.index));
        if wanted && self.reads.available_permits() > 0 {
            let reader = self.clone();
            // A failure shows when the consumer gets there.
            tokio::spawn(async move { reader.load(&entry, &group).await.map(drop) });
        }
    }
}

impl GroupBatches {
    fn rebuild(
        footer: &Footer,
        group: &RowGroup,
        bytes: Bytes,
        options: &RebuildOptions,
    ) -> Result<Self, ArchiveError> {
        let batches = rebuild(footer, group, bytes, options)?;
        let mut all = BytesMut::with_capacity(batches.iter().map(|batch| batch.bytes.len()).sum());
        let places = batches.iter().map(|batch| {
            let from = all.len();
            all.extend_from_slice(&batch.bytes);
            let (last_offset, max_timestamp) = (batch.last_offset, batch.max_timestamp);
            Place { last_offset, max_timestamp, from, to: all.len() }
        });
        let places = places.collect();
        Ok(Self { bytes: all.freeze(), places })
    }

    /// The bytes of the batches from `from` on, and the last one's last offset.
    fn range_from(&self, from: Offset, max_bytes: usize) -> Option<(std::ops::Range<usize>, Offset)> {
        let places = &self.places[self.places.partition_point(|place| place.last_offset < from)..];
        let first = places.first()?;
        let fits = places.partition_point(|place| place.to - first.from <= max_bytes).max(1);
        let last = &places[fits - 1];
        Some((first.from..last.to, last.last_offset))
    }

    fn first_at(
        &self,
        timestamp: TimestampMs,
        from: Offset,
        object: &str,
    ) -> Result<Option<TimestampedOffset>, StoreError> {
        let late = |place: &&Place| place.max_timestamp >= timestamp && place.last_offset >= from;
        for place in self.places.iter().filter(late) {
            let damaged = |error| StoreError::corrupt(object, error);
            let batch = Batch::try_from_bytes(self.bytes.slice(place.from..place.to)).map_err(damaged)?;
            for record in batch.records(DecompressLimit(usize::MAX)).map_err(damaged)? {
                let record = record.map_err(damaged)?;
                if record.offset >= from.0 && record.timestamp >= timestamp {
                    return Ok(Some(TimestampedOffset {
                        timestamp: record.timestamp,
                        offset: Offset(record.offset),
                        leader_epoch: batch.header().leader_epoch,
                    }));
                }
            }
        }
        Ok(None)
    }
}

fn gap_after(range: &PartitionRange, from: Offset) -> Result<ColdRead, StoreError> {
    let last = Offset(range.end_offset.0 - 1);
    let epoch = range.leader_epoch(from).unwrap_or(LeaderEpoch(0));
    let batches = gap_batch(from, last, epoch).map_err(StoreError::log)?;
    Ok(ColdRead { batches, next_offset: range.end_offset })
}

fn closed() -> StoreError {
    StoreError::StoreUnavailable { why: "the broker is shutting down".to_owned() }
}
