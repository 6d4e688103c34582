//! The task that sends: looks which batches are due, gives them to their leaders, and deals with what comes back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use strata_protocol::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use strata_types::{ErrorCode, NodeId, ProducerEpoch, ProducerId, TopicName, TopicPartition};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::IDEMPOTENT_IN_FLIGHT_MAX;
use super::batch::Identity;
use super::request::{self, Appended, Sent};
use super::shared::{Shared, State};
use crate::client::Client;
use crate::error::{ClientError, Result};

/// What comes back to the sender.
enum Event {
    Answered { node: NodeId, sent: Vec<Sent>, answer: Result<ProduceResponse> },
    Identity(Result<Identity>),
    Topic(TopicName, Result<()>),
}

/// A request for one node.
struct Job {
    request: ProduceRequest,
    sent: Vec<Sent>,
}

struct Sender {
    client: Client,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
    nodes: HashMap<NodeId, Node>,
    identity: Option<Arc<Identity>>,
    is_asking_identity: bool,
    looking_for: HashSet<TopicName>,
    /// Nothing is asked again before, after something failed.
    ask_again_at: Option<Instant>,
}

struct Node {
    jobs: mpsc::UnboundedSender<Job>,
    in_flight: usize,
}

/// Runs until the producer is closed and everything has its outcome.
pub(crate) async fn run(client: Client, shared: Arc<Shared>) {
    // Bounded by what is in flight: `in_flight_max` requests a node, one question a topic, one for the identity.
    let (events, mut arrived) = mpsc::unbounded_channel();
    let mut sender = Sender {
        client,
        shared: shared.clone(),
        events,
        nodes: HashMap::new(),
        identity: None,
        is_asking_identity: false,
        looking_for: HashSet::new(),
        ask_again_at: None,
    };
    while !shared.is_done() {
        let wake = sender.dispatch(Instant::now());
        tokio::select! {
            Some(event) = arrived.recv() => sender.handle(event),
            () = shared.changed() => {}
            () = sleep_until(wake) => {}
        }
    }
}

/// How long the sender sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

impl Sender {
    /// Sends what is due. Returns when to look again.
    fn dispatch(&mut self, now: Instant) -> Instant {
        let shared = self.shared.clone();
        let mut wake = now + IDLE;
        let mut ready: HashMap<NodeId, Vec<TopicPartition>> = HashMap::new();
        let mut unknown = HashSet::new();
        let mut state = shared.state();
        self.expire(&mut state, now);
        let in_flight_max = self.partition_in_flight_max();
        let mut needs_identity = false;
        for (partition, queue) in &state.queues {
            let Some(due) = shared.due(&state, queue) else { continue };
            // A deadline that has passed waits for what is in flight, and not for the clock.
            let deadline = queue.front().map(|batch| batch.deadline).filter(|deadline| *deadline > now);
            wake = wake.min(deadline.unwrap_or(wake));
            if due > now {
                wake = wake.min(due);
                continue;
            }
            if !queue.may_send(now, in_flight_max) {
                continue;
            }
            if shared.options.enable_idempotence && queue.needs_identity(self.identity.as_ref()) {
                needs_identity = true;
                continue;
            }
            match self.client.known_partition(partition).and_then(|partition| partition.leader) {
                Some(leader) => ready.entry(leader).or_default().push(partition.clone()),
                None => {
                    self.client.doubt(&partition.topic);
                    unknown.insert(partition.topic.clone());
                }
            }
        }
        for (node, partitions) in ready {
            self.send_to(node, &partitions, &mut state);
        }
        drop(state);
        if self.ask_again_at.is_some_and(|at| at > now) {
            return wake.min(self.ask_again_at.unwrap_or(wake));
        }
        if needs_identity {
            self.ask_identity();
        }
        unknown.into_iter().for_each(|topic| self.look_for(topic));
        wake
    }

    /// Without sequences, only one batch at a time keeps the order.
    fn partition_in_flight_max(&self) -> usize {
        if self.shared.options.enable_idempotence { IDEMPOTENT_IN_FLIGHT_MAX } else { 1 }
    }

    /// Gives up what has waited too long.
    fn expire(&self, state: &mut State, now: Instant) {
        let mut expired = Vec::new();
        for queue in state.queues.values_mut() {
            expired.extend(queue.take_expired(now));
        }
        let ms = self.shared.options.delivery_timeout_ms;
        for batch in expired {
            self.shared.fail(state, batch, &ClientError::Timeout { what: "a delivery", ms, last: None });
        }
    }

    /// Fills requests for a node: one batch of each partition, up to the request's size.
    fn send_to(&mut self, node: NodeId, partitions: &[TopicPartition], state: &mut State) {
        let options = &self.shared.options;
        let in_flight = self.nodes.get(&node).map_or(0, |node| node.in_flight);
        let mut partitions = partitions.iter().peekable();
        for _ in in_flight..options.in_flight_max {
            let (mut sent, mut batches, mut bytes_len) = (Vec::new(), Vec::new(), 0);
            while let Some(&partition) = partitions.peek() {
                let Some(queue) = state.queues.get_mut(partition) else { break };
                let next = queue.front().map_or(0, |batch| batch.bytes_len());
                if bytes_len > 0 && bytes_len + next > options.request_bytes_max {
                    break;
                }
                partitions.next();
                let identity = self.identity.as_ref().filter(|_| options.enable_idempotence);
                let Some(mut batch) = queue.take(identity) else { continue };
                let partition = partition.clone();
                match batch.seal() {
                    Ok(bytes) => {
                        bytes_len += bytes.len();
                        batches.push((partition.clone(), bytes));
                        sent.push(Sent { partition, batch });
                    }
                    Err(error) => self.give_up(state, Sent { partition, batch }, &error),
                }
            }
            if sent.is_empty() {
                return;
            }
            let request = request::request(batches, options.acks, self.client.options().request_timeout_ms);
            let node = self.nodes.entry(node).or_insert_with(|| self::node(node, &self.client, &self.events));
            node.in_flight += 1;
            // The node's task runs for as long as we do.
            let _ = node.jobs.send(Job { request, sent });
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answered { node, sent, answer } => {
                if let Some(node) = self.nodes.get_mut(&node) {
                    node.in_flight -= 1;
                }
                for sent in sent {
                    let outcome = request::outcome(&answer, &sent.partition);
                    self.settle(sent, outcome);
                }
            }
            Event::Identity(Ok(identity)) => {
                self.is_asking_identity = false;
                self.identity = Some(Arc::new(identity));
            }
            Event::Identity(Err(error)) => {
                self.is_asking_identity = false;
                self.asked_in_vain(error, None);
            }
            Event::Topic(topic, outcome) => {
                self.looking_for.remove(&topic);
                // Its partition may still be without a leader: that is no reason to ask without a pause.
                self.pause_asking(self.client.options().retry_backoff_ms);
                if let Err(error) = outcome {
                    self.asked_in_vain(error, Some(&topic));
                }
            }
        }
    }

    /// What a batch's outcome means for it and for its queue.
    fn settle(&mut self, sent: Sent, outcome: Result<Appended>) {
        let shared = self.shared.clone();
        let mut state = shared.state();
        let Sent { partition, batch } = sent;
        let queue = state.queues.entry(partition.clone()).or_default();
        queue.landed(&batch);
        let error = match outcome {
            Ok(Appended { base, append_time }) => {
                shared.settle(&mut state, batch.id, batch.charged_bytes);
                return batch.acknowledge(&partition, base, append_time);
            }
            Err(error) => error,
        };
        let is_behind_another = error.is(ErrorCode::OutOfOrderSequenceNumber) && queue.has_earlier(&batch);
        if error.is_retriable() || is_behind_another {
            tracing::debug!(%partition, %error, "a batch is sent again");
            let pause = Duration::from_millis(self.client.options().retry_backoff_ms);
            queue.put_back(batch, Instant::now() + pause);
            self.client.doubt(&partition.topic);
            return;
        }
        self.give_up(&mut state, Sent { partition, batch }, &error);
    }

    /// Fails a batch for good; the sequences behind it have a gap then.
    fn give_up(&self, state: &mut State, sent: Sent, error: &ClientError) {
        let queue = state.queues.entry(sent.partition).or_default();
        queue.landed(&sent.batch);
        if sent.batch.sequenced.is_some() {
            queue.broke();
        }
        self.shared.fail(state, sent.batch, error);
    }

    /// Without an identity nothing can be sent, without a leader nothing of the topic. What can be asked again is.
    fn asked_in_vain(&mut self, error: ClientError, topic: Option<&TopicName>) {
        let last_is_retriable = match &error {
            ClientError::Timeout { last: Some(last), .. } => last.is_retriable(),
            error => error.is_retriable(),
        };
        if last_is_retriable {
            return self.pause_asking(self.client.options().retry_backoff_max_ms);
        }
        let shared = self.shared.clone();
        let mut state = shared.state();
        let mut given_up = Vec::new();
        for (partition, queue) in &mut state.queues {
            if topic.is_none_or(|topic| partition.topic == *topic) {
                given_up.extend(queue.take_all());
            }
        }
        for batch in given_up {
            shared.fail(&mut state, batch, &error);
        }
    }

    fn pause_asking(&mut self, ms: u64) {
        self.ask_again_at = Some(Instant::now() + Duration::from_millis(ms));
    }

    fn ask_identity(&mut self) {
        if std::mem::replace(&mut self.is_asking_identity, true) {
            return;
        }
        let (client, events) = (self.client.clone(), self.events.clone());
        tokio::spawn(async move {
            let _ = events.send(Event::Identity(new_identity(&client).await));
        });
    }

    fn look_for(&mut self, topic: TopicName) {
        if !self.looking_for.insert(topic.clone()) {
            return;
        }
        let (client, events) = (self.client.clone(), self.events.clone());
        tokio::spawn(async move {
            let found = client.topic(&topic).await.map(drop);
            let _ = events.send(Event::Topic(topic, found));
        });
    }
}

async fn new_identity(client: &Client) -> Result<Identity> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    let answer = client.call_any(&request).await?;
    ClientError::check(answer.error_code)?;
    Ok(Identity { producer_id: ProducerId(answer.producer_id), epoch: ProducerEpoch(answer.producer_epoch) })
}

/// Starts the task that talks to one node, request after request, so that they arrive in order.
fn node(id: NodeId, client: &Client, events: &mpsc::UnboundedSender<Event>) -> Node {
    let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
    let (client, events) = (client.clone(), events.clone());
    tokio::spawn(async move {
        while let Some(Job { request, sent }) = queue.recv().await {
            let started = match client.connection(id).await {
                Ok(connection) => connection.start(&request, client.options().request_timeout()).await,
                Err(error) => Err(error),
            };
            let events = events.clone();
            match started {
                Ok(answer) => drop(tokio::spawn(async move {
                    let _ = events.send(Event::Answered { node: id, sent, answer: answer.await });
                })),
                Err(error) => drop(events.send(Event::Answered { node: id, sent, answer: Err(error) })),
            }
        }
    });
    Node { jobs, in_flight: 0 }
}
