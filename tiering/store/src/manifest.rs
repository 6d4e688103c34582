//! The manifest: one small object per archived range, in the bucket beside the data.
//!
//! It is what decides. An attempt uploads its data under a name of its own, then creates
//! `manifest/<topic id>/<partition>/<start>.json` on the condition that it does not exist. Ranges follow one another,
//! so for each start offset there is one winner, however many leaders, retries and lost answers there were; what the
//! others uploaded is an orphan. The index topic follows the manifest, and can be made again from it.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use strata_types::Offset;

use crate::error::StoreError;
use crate::index::{IndexEntry, PartitionKey, TierIndex};
use crate::names;
use crate::objects::{Created, Store};

/// Manifest entries read at a time.
const READS_MAX: usize = 16;

/// Who archived a range.
#[derive(Debug)]
pub(crate) enum Committed {
    /// This attempt.
    Ours,
    /// Another one was first: its entry stands, and our object is an orphan.
    Theirs(Box<IndexEntry>),
}

/// Decides an attempt. Doing it again, after a lost answer, gives the same decision.
pub(crate) async fn commit(store: &Store, entry: &IndexEntry) -> Result<Committed, StoreError> {
    let key = entry.partition();
    let name = names::manifest_object(key.topic_id, key.partition, entry.range.start_offset);
    match store.create(&name, entry.encode()).await? {
        Created::Yes => Ok(Committed::Ours),
        Created::Exists => {
            let found = decode(&name, &store.get(&name).await?)?;
            if found.object == entry.object {
                Ok(Committed::Ours)
            } else {
                Ok(Committed::Theirs(Box::new(found)))
            }
        }
    }
}

/// The entry for the range that starts at `start`.
pub(crate) async fn read(
    store: &Store,
    partition: PartitionKey,
    start: Offset,
) -> Result<Option<IndexEntry>, StoreError> {
    let name = names::manifest_object(partition.topic_id, partition.partition, start);
    match store.get(&name).await {
        Ok(bytes) => decode(&name, &bytes).map(Some),
        Err(StoreError::NotArchived { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A partition's entries, by start offset.
pub(crate) async fn read_partition(
    store: &Store,
    partition: PartitionKey,
) -> Result<Vec<IndexEntry>, StoreError> {
    read_below(store, &names::manifest_folder(partition.topic_id, partition.partition)).await
}

/// The whole index, from the bucket alone: for a query without a broker, or to restore a cluster.
pub async fn read_manifest(store: &Store) -> Result<TierIndex, StoreError> {
    let index = TierIndex::default();
    for entry in read_below(store, names::manifest_root()).await? {
        index.apply(entry.key(), Some(entry));
    }
    Ok(index)
}

async fn read_below(store: &Store, folder: &str) -> Result<Vec<IndexEntry>, StoreError> {
    let found = store.list(folder).await?;
    let paths = found.into_iter().map(|meta| meta.location);
    let reads = paths.map(|path| read_path(store, path));
    let entries: Vec<Option<IndexEntry>> =
        stream::iter(reads).buffer_unordered(READS_MAX).try_collect().await?;
    let mut entries: Vec<IndexEntry> = entries.into_iter().flatten().collect();
    entries.sort_unstable_by_key(|entry| (entry.partition(), entry.range.start_offset));
    Ok(entries)
}

async fn read_path(store: &Store, path: Path) -> Result<Option<IndexEntry>, StoreError> {
    let Some(name) = store.name(&path) else { return Ok(None) };
    match store.get(&name).await {
        Ok(bytes) => decode(&name, &bytes).map(Some),
        // Retention took it between the listing and now.
        Err(StoreError::NotArchived { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn decode(name: &str, bytes: &Bytes) -> Result<IndexEntry, StoreError> {
    IndexEntry::decode(bytes).map_err(|error| StoreError::corrupt(name, error))
}
