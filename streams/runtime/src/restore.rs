//! Brings a task's stores up to date from their changelogs.

use std::path::Path;
use std::time::Duration;

use strata_client::{AutoOffsetReset, Client, Consumer, ConsumerOptions, OffsetSpec, SeekTo};
use strata_state::TaskState;
use strata_topology::{Store, SubTopology, TaskId};
use strata_types::{Offset, TopicPartition};

use crate::error::RuntimeError;

/// How long one poll waits; a changelog that has more answers at once.
const POLL: Duration = Duration::from_millis(500);

/// Opens the task's state in `folder` and applies what its changelogs hold beyond it. May be given up at any time: what
/// was restored is kept, and the next call goes on from there.
pub async fn restore(
    client: &Client,
    folder: &Path,
    task: TaskId,
    sub_topology: &SubTopology,
) -> Result<TaskState, RuntimeError> {
    let names: Vec<String> = sub_topology.stores.iter().map(|store| store.name.clone()).collect();
    let mut state = TaskState::open(folder, &names)?;
    for store in &sub_topology.stores {
        restore_store(client, &mut state, task, store).await?;
    }
    Ok(state)
}

async fn restore_store(
    client: &Client,
    state: &mut TaskState,
    task: TaskId,
    store: &Store,
) -> Result<(), RuntimeError> {
    let changelog = TopicPartition::new(store.changelog.clone(), task.partition);
    let (earliest, end) = span(client, &changelog).await?;
    let start = match usable_checkpoint(client, state, store, earliest, end).await? {
        Some(checkpoint) => checkpoint,
        None => earliest,
    };
    if start >= end {
        return Ok(());
    }
    // What disappears while it is read cannot be restored from: the application is started again, and wipes the store.
    let options = ConsumerOptions { auto_offset_reset: AutoOffsetReset::None, ..ConsumerOptions::default() };
    let mut consumer = Consumer::new(client, options)?;
    consumer.assign(std::slice::from_ref(&changelog))?;
    consumer.seek(&changelog, SeekTo::Offset(start))?;
    loop {
        let records = consumer.poll(POLL).await?;
        let writes = records.into_iter().filter_map(|record| Some((record.key?, record.value)));
        state.put_many(&store.name, writes)?;
        let position = consumer.position(&changelog).unwrap_or(start);
        state.commit([(store.name.as_str(), position)])?;
        if position >= end {
            break;
        }
    }
    consumer.close().await?;
    tracing::info!(%task, store = store.name, from = start.0, until = end.0, "state restored");
    Ok(())
}

/// Where the store is to be restored from, if it holds what the changelog said up to there. Otherwise the store is
/// emptied: it was filled from a topic of the same name that is gone, or from records that the topic does not have any more.
async fn usable_checkpoint(
    client: &Client,
    state: &mut TaskState,
    store: &Store,
    earliest: Offset,
    end: Offset,
) -> Result<Option<Offset>, RuntimeError> {
    client.doubt(&store.changelog);
    let id = client.topic(&store.changelog).await?.id.to_string();
    let checkpoint = state.checkpoint(&store.name)?;
    let is_of_this_topic = state.changelog(&store.name)?.as_ref() == Some(&id);
    if is_of_this_topic && checkpoint.is_none_or(|checkpoint| earliest <= checkpoint && checkpoint <= end) {
        return Ok(checkpoint);
    }
    if checkpoint.is_some() {
        tracing::warn!(store = store.name, changelog = %store.changelog, "the state is not this changelog's: wiped");
    }
    state.reset(&store.name, &id)?;
    Ok(None)
}

async fn span(client: &Client, changelog: &TopicPartition) -> Result<(Offset, Offset), RuntimeError> {
    let offset = async |spec| {
        let listed = client.list_offsets(&[(changelog.clone(), spec)], false).await?;
        Ok::<_, RuntimeError>(listed.get(changelog).map_or(Offset::ZERO, |listed| listed.offset))
    };
    Ok((offset(OffsetSpec::Earliest).await?, offset(OffsetSpec::Latest).await?))
}
