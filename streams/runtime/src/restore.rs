//! Brings a task's stores up to date from their changelogs.

use std::path::Path;
use std::time::Duration;

use strata_client::{Client, Consumer, ConsumerOptions, OffsetSpec, SeekTo};
use strata_state::TaskState;
use strata_topology::{Store, SubTopology, TaskId};
use strata_types::{Offset, TopicPartition};

use crate::error::RuntimeError;

/// How long one poll waits; a changelog that has more answers at once.
const POLL: Duration = Duration::from_millis(500);

/// Opens the task's state in `folder` and applies what its changelogs hold beyond it.
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
    let ends = client.list_offsets(&[(changelog.clone(), OffsetSpec::Latest)], false).await?;
    let end = ends.get(&changelog).map_or(Offset::ZERO, |listed| listed.offset);
    let start = state.checkpoint(&store.name)?.unwrap_or(Offset::ZERO);
    if start >= end {
        return Ok(());
    }
    let mut consumer = Consumer::new(client, ConsumerOptions::default())?;
    consumer.assign(std::slice::from_ref(&changelog))?;
    let from = if start == Offset::ZERO { SeekTo::Earliest } else { SeekTo::Offset(start) };
    consumer.seek(&changelog, from)?;
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
