//! The shell around the group coordinators: one task per partition of `__consumer_offsets`, started when first needed.
//!
//! ```text
//! request ─▶ queue ─▶ ┌ task ─────────────────────────────┐ ─▶ reply
//!  high watermark ──▶ │ GroupCoordinator (sans-IO)        │
//!        deadline ──▶ │   └ effects: append, replies      │ ─▶ the partition's log
//!                     └───────────────────────────────────┘
//! ```

mod shard;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strata_coordinator::{ClientContext, GroupRequest, GroupResponse, partition_for, refusal};
use strata_protocol::Str;
use strata_types::{ErrorCode, PartitionId, TopicId};
use tokio::sync::{mpsc, oneshot};

use crate::broker::Broker;
use crate::dispatch::Context;
use crate::internal::CONSUMER_OFFSETS;
use crate::partitions::LocalTopic;

/// Requests that may wait for one coordinator.
const QUEUE_REQUESTS_MAX: usize = 1_000;

/// A request on its way to a coordinator.
struct Envelope {
    request: GroupRequest,
    reply: oneshot::Sender<GroupResponse>,
}

/// The coordinators that are running.
#[derive(Default)]
pub(crate) struct Coordinators {
    /// With the topic's id: a topic that was deleted and made again has other coordinators.
    running: Mutex<HashMap<(TopicId, PartitionId), mpsc::Sender<Envelope>>>,
}

impl Coordinators {
    /// Asks the coordinator of a group. The request takes its place in the queue when this is first polled.
    pub(crate) async fn ask(
        &self,
        broker: &Arc<Broker>,
        group: &str,
        request: GroupRequest,
    ) -> GroupResponse {
        let Some(topic) = broker.partitions.topic(CONSUMER_OFFSETS) else {
            return refusal(&request, ErrorCode::NotCoordinator);
        };
        let partition = partition_for(group, topic.partitions.len() as PartitionId);
        self.ask_partition(broker, &topic, partition, request).await
    }

    /// Asks every coordinator whose partition holds something, one after the other.
    pub(crate) async fn ask_all(
        &self,
        broker: &Arc<Broker>,
        request: impl Fn() -> GroupRequest,
    ) -> Vec<GroupResponse> {
        let Some(topic) = broker.partitions.topic(CONSUMER_OFFSETS) else { return Vec::new() };
        let mut responses = Vec::new();
        for index in 0..topic.partitions.len() as PartitionId {
            let is_running = self.running.lock().contains_key(&(topic.id, index));
            let partition = topic.partitions[index as usize].as_ref();
            if is_running || partition.is_some_and(|p| p.log.end_offset() > p.log.start_offset()) {
                responses.push(self.ask_partition(broker, &topic, index, request()).await);
            }
        }
        responses
    }

    /// Groups of group ids by the partition that has them, in the order in which they were first named.
    pub(crate) fn by_partition(broker: &Broker, groups: Vec<Str>) -> Vec<Vec<Str>> {
        let count = broker.partitions.topic(CONSUMER_OFFSETS).map_or(1, |topic| topic.partitions.len());
        let mut parts: Vec<(PartitionId, Vec<Str>)> = Vec::new();
        for group in groups {
            let partition = partition_for(&group, count as PartitionId);
            match parts.iter_mut().find(|(known, _)| *known == partition) {
                Some((_, part)) => part.push(group),
                None => parts.push((partition, vec![group])),
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    async fn ask_partition(
        &self,
        broker: &Arc<Broker>,
        topic: &LocalTopic,
        index: PartitionId,
        request: GroupRequest,
    ) -> GroupResponse {
        let not_here = refusal(&request, ErrorCode::NotCoordinator);
        let Some(queue) = self.queue(broker, topic, index) else { return not_here };
        let (reply, answer) = oneshot::channel();
        // A coordinator that ends meanwhile drops its queue; the client looks for the next one.
        match queue.send(Envelope { request, reply }).await {
            Ok(()) => answer.await.unwrap_or(not_here),
            Err(_) => not_here,
        }
    }

    fn queue(
        &self,
        broker: &Arc<Broker>,
        topic: &LocalTopic,
        index: PartitionId,
    ) -> Option<mpsc::Sender<Envelope>> {
        let partition = topic.partitions.get(index as usize)?.as_ref()?;
        let mut running = self.running.lock();
        if let Some(queue) = running.get(&(topic.id, index)).filter(|queue| !queue.is_closed()) {
            return Some(queue.clone());
        }
        if broker.stopping.is_cancelled() || partition.is_gone() {
            return None;
        }
        running.retain(|_, queue| !queue.is_closed());
        let (queue, requests) = mpsc::channel(QUEUE_REQUESTS_MAX);
        broker.tasks.spawn(shard::run(broker.clone(), partition.clone(), requests));
        running.insert((topic.id, index), queue.clone());
        Some(queue)
    }
}

/// What a coordinator keeps of the client behind a request.
pub(crate) fn client(cx: &Context) -> ClientContext {
    ClientContext {
        client_id: cx.client_id.as_ref().map(Str::detached).unwrap_or_default(),
        // As Java prints an address that has no name.
        client_host: Str::from(format!("/{}", cx.peer.address.ip())),
        version: cx.version,
    }
}
