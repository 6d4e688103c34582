//! The shell around the coordinators: one task per partition of an internal topic, started when first needed. Which
//! coordinator that is, the topic says: each kind of shard is [`Hosted`] in a file of its own.
//!
//! ```text
//! request ─▶ queue ─▶ ┌ task ─────────────────────────────┐ ─▶ reply
//!  high watermark ──▶ │ Runtime<S> (sans-IO)              │
//!        deadline ──▶ │   └ effects: append, replies,     │ ─▶ the partition's log
//!                     │              actions              │ ─▶ S::act
//!                     └───────────────────────────────────┘
//! ```
//!
//! | kind | topic | field of `Broker` |
//! |---|---|---|
//! | `group` | `__consumer_offsets` | `groups` |
//! | `share` | `__share_group_state` | `persister` |
//! | `transaction` | `__transaction_state` | `transactions` |

mod group;
mod share;
mod task;
mod transaction;
mod view;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strata_coordinator::{ClientContext, RuntimeOptions, Shard, partition_for};
use strata_protocol::Str;
use strata_types::{ErrorCode, PartitionId, TopicId};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use crate::broker::Broker;
use crate::dispatch::Context;
use crate::partition::Partition;
use crate::partitions::LocalTopic;
use crate::trace::span;

pub(crate) use view::Views;

/// Requests that may wait for one coordinator.
const QUEUE_REQUESTS_MAX: usize = 1_000;

/// A shard that this shell can run, and what it needs for that.
pub(crate) trait Hosted:
    Shard<Request: Send, Response: Send, Record: Send, State: Send, Action: Send> + Send + 'static
{
    /// The internal topic that holds its records; requests go by the hash of their key to one of its partitions.
    const TOPIC: &'static str;

    /// A coordinator of `partition`, whose log it has yet to read.
    fn new(broker: &Broker, partition: &Partition) -> (Self, RuntimeOptions)
    where
        Self: Sized;

    /// Takes in the newest metadata, before it is asked anything.
    fn follow(&mut self, broker: &Broker) {
        let _ = broker;
    }

    /// Carries out what an operation wanted done ([`Outcome::act`](strata_coordinator::Outcome::act)), in a task of its
    /// own where that takes time. What becomes of it goes back by [`Coordinators::ask_partition`].
    fn act(broker: &Arc<Broker>, partition: &Arc<Partition>, action: Self::Action);
}

/// A request on its way to a coordinator.
struct Envelope<S: Shard> {
    request: S::Request,
    reply: oneshot::Sender<S::Response>,
}

type Queue<S> = mpsc::Sender<Envelope<S>>;

/// The coordinators of one kind that are running.
pub(crate) struct Coordinators<S: Shard> {
    /// With the topic's id: a topic that was deleted and made again has other coordinators.
    running: Mutex<HashMap<(TopicId, PartitionId), Queue<S>>>,
}

impl<S: Shard> Default for Coordinators<S> {
    fn default() -> Self {
        Self { running: Mutex::default() }
    }
}

impl<S: Hosted> Coordinators<S> {
    /// Asks the coordinator of a key (a group, a transactional id). The request takes its place in the queue when this
    /// is first polled.
    pub(crate) async fn ask(&self, broker: &Arc<Broker>, key: &str, request: S::Request) -> S::Response {
        let Some(topic) = broker.partitions.topic(S::TOPIC) else {
            return S::refuse(&request, ErrorCode::NotCoordinator);
        };
        let partition = partition_for(key, topic.partitions.len() as PartitionId);
        self.ask_in(broker, &topic, partition, request).await
    }

    /// Asks the coordinator of a partition of the topic.
    pub(crate) async fn ask_partition(
        &self,
        broker: &Arc<Broker>,
        partition: PartitionId,
        request: S::Request,
    ) -> S::Response {
        match broker.partitions.topic(S::TOPIC) {
            Some(topic) => self.ask_in(broker, &topic, partition, request).await,
            None => S::refuse(&request, ErrorCode::NotCoordinator),
        }
    }

    /// Asks every coordinator whose partition holds something, one after the other.
    pub(crate) async fn ask_all(
        &self,
        broker: &Arc<Broker>,
        request: impl Fn() -> S::Request,
    ) -> Vec<S::Response> {
        let Some(topic) = broker.partitions.topic(S::TOPIC) else { return Vec::new() };
        let mut responses = Vec::new();
        for index in 0..topic.partitions.len() as PartitionId {
            let is_running = self.running.lock().contains_key(&(topic.id, index));
            if is_running || topic.partitions[index as usize].as_deref().is_some_and(holds_something) {
                responses.push(self.ask_in(broker, &topic, index, request()).await);
            }
        }
        responses
    }

    /// Starts the coordinators whose partitions hold something: those that have work of their own to go on with.
    pub(crate) fn start_all(&self, broker: &Arc<Broker>) {
        let Some(topic) = broker.partitions.topic(S::TOPIC) else { return };
        for (index, partition) in topic.partitions.iter().enumerate() {
            if partition.as_deref().is_some_and(holds_something) {
                self.queue(broker, &topic, index as PartitionId);
            }
        }
    }

    /// Groups keys by the partition that has them, in the order in which they were first named.
    pub(crate) fn by_partition(broker: &Broker, keys: Vec<Str>) -> Vec<Vec<Str>> {
        let count = broker.partitions.topic(S::TOPIC).map_or(1, |topic| topic.partitions.len());
        let mut parts: Vec<(PartitionId, Vec<Str>)> = Vec::new();
        for key in keys {
            let partition = partition_for(&key, count as PartitionId);
            match parts.iter_mut().find(|(known, _)| *known == partition) {
                Some((_, part)) => part.push(key),
                None => parts.push((partition, vec![key])),
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    async fn ask_in(
        &self,
        broker: &Arc<Broker>,
        topic: &LocalTopic,
        index: PartitionId,
        request: S::Request,
    ) -> S::Response {
        let not_here = S::refuse(&request, ErrorCode::NotCoordinator);
        let Some(queue) = self.queue(broker, topic, index) else { return not_here };
        let (reply, answer) = oneshot::channel();
        // A coordinator that ends meanwhile drops its queue; the client looks for the next one.
        let asked = async {
            match queue.send(Envelope { request, reply }).await {
                Ok(()) => answer.await.unwrap_or(not_here),
                Err(_) => not_here,
            }
        };
        asked.instrument(span!("coordinator", topic = S::TOPIC, partition = index)).await
    }

    fn queue(&self, broker: &Arc<Broker>, topic: &LocalTopic, index: PartitionId) -> Option<Queue<S>> {
        let partition = topic.partitions.get(usize::try_from(index).ok()?)?.as_ref()?;
        let mut running = self.running.lock();
        if let Some(queue) = running.get(&(topic.id, index)).filter(|queue| !queue.is_closed()) {
            return Some(queue.clone());
        }
        if broker.stopping.is_cancelled() || partition.is_gone() {
            return None;
        }
        running.retain(|_, queue| !queue.is_closed());
        let (queue, requests) = mpsc::channel(QUEUE_REQUESTS_MAX);
        broker.tasks.spawn(task::run::<S>(broker.clone(), partition.clone(), requests));
        running.insert((topic.id, index), queue.clone());
        Some(queue)
    }
}

fn holds_something(partition: &Partition) -> bool {
    partition.log.end_offset() > partition.log.start_offset()
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
