//! The cluster, as one thing to ask: connections by node, what we know of it, and who coordinates what.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_protocol::messages::metadata_request::MetadataRequestTopic;
use strata_protocol::messages::{FindCoordinatorRequest, MetadataRequest};
use strata_protocol::{Message, Request, Str};
use strata_types::{ErrorCode, NodeId, PartitionId, TopicName, TopicPartition};

use crate::admin::Admin;
use crate::connection::Connection;
use crate::error::{ClientError, Result};
use crate::metadata::{Metadata, MetadataCache, Partition, Topic};
use crate::options::ClientOptions;
use crate::retry::Retry;

/// A cluster. Clones share connections and what is known; a [`Client::fork`] shares only the latter.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    options: Arc<ClientOptions>,
    bootstrap: Arc<[String]>,
    metadata: Arc<MetadataCache>,
    connections: Mutex<HashMap<Target, Slot>>,
    coordinators: Mutex<HashMap<(CoordinatorType, String), NodeId>>,
    /// Where the next request that any broker can answer goes.
    turn: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Target {
    Node(NodeId),
    Bootstrap(usize),
}

/// A connection or the place for one. The lock is held while connecting, so that all who need it wait for one attempt.
type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// What a coordinator coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum CoordinatorType {
    Group = 0,
    Transaction = 1,
    Share = 2,
}

impl Client {
    /// Connects to a cluster by some of its brokers: `host:port,host:port`.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] when none of them has answered within `bootstrap_timeout_ms`.
    pub async fn connect(bootstrap: &str, options: ClientOptions) -> Result<Self> {
        let bootstrap: Vec<String> =
            bootstrap.split(',').map(|a| a.trim().to_owned()).filter(|a| !a.is_empty()).collect();
        if let Some(wrong) = bootstrap.iter().find(|address| !address.contains(':')) {
            return Err(ClientError::Options(format!("`{wrong}` is not host:port")));
        }
        if bootstrap.is_empty() {
            return Err(ClientError::Options("no bootstrap server".into()));
        }
        let client = Self::new(Arc::new(options), bootstrap.into(), Arc::default());
        let limit_ms = client.options().bootstrap_timeout_ms;
        let retry = Retry::new(client.options(), "looking for a broker", limit_ms);
        client.refresh_within(retry, Some(&[])).await?;
        Ok(client)
    }

    fn new(options: Arc<ClientOptions>, bootstrap: Arc<[String]>, metadata: Arc<MetadataCache>) -> Self {
        let inner = Inner {
            options,
            bootstrap,
            metadata,
            connections: Mutex::default(),
            coordinators: Mutex::default(),
            turn: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same cluster over connections of its own. A broker answers the requests of one connection in order, so that
    /// what waits long (a fetch, joining a group) should not stand before what must not wait.
    pub fn fork(&self) -> Self {
        let inner = &self.inner;
        Self::new(inner.options.clone(), inner.bootstrap.clone(), inner.metadata.clone())
    }

    pub fn options(&self) -> &ClientOptions {
        &self.inner.options
    }

    /// The retries of a call, up to `api_timeout_ms`.
    pub(crate) fn retry(&self, what: &'static str) -> Retry {
        Retry::new(self.options(), what, self.options().api_timeout_ms)
    }

    /// Creating, describing, altering and deleting.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// What is known of the cluster now, without asking.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.inner.metadata.current()
    }

    /// A connection to a broker, opened if there is none.
    pub async fn connection(&self, node: NodeId) -> Result<Connection> {
        self.connection_to(Target::Node(node)).await
    }

    async fn connection_to(&self, target: Target) -> Result<Connection> {
        let slot = self.inner.connections.lock().entry(target).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(open) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(open.clone());
        }
        let address = match target {
            Target::Bootstrap(index) => self.inner.bootstrap[index].clone(),
            Target::Node(node) => {
                let metadata = self.metadata();
                metadata.brokers.get(&node).ok_or(ClientError::UnknownNode(node))?.address()
            }
        };
        let connection = Connection::open(&address, &self.inner.options).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// Asks one broker, once.
    pub async fn call<R: Request>(&self, node: NodeId, request: &R) -> Result<R::Response> {
        self.connection(node).await?.call(request).await
    }

    /// Asks one broker, once, and waits up to `limit` for its answer.
    pub async fn call_within<R: Request>(
        &self,
        node: NodeId,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response> {
        self.connection(node).await?.start(request, limit).await?.await
    }

    /// Asks whichever broker answers, up to `api_timeout_ms`.
    pub async fn call_any<R: Request>(&self, request: &R) -> Result<R::Response> {
        let mut retry = self.retry(R::NAME);
        loop {
            match self.call_next(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// Asks the next broker in turn; one that we were told about, or else a bootstrap server.
    async fn call_next<R: Request>(&self, request: &R) -> Result<R::Response> {
        let turn = self.inner.turn.load(Ordering::Relaxed);
        let metadata = self.metadata();
        let nodes = metadata.brokers.keys().map(|node| Target::Node(*node));
        let targets: Vec<_> = nodes.chain((0..self.inner.bootstrap.len()).map(Target::Bootstrap)).collect();
        let answer = match self.connection_to(targets[turn % targets.len()]).await {
            Ok(connection) => connection.call(request).await,
            Err(error) => Err(error),
        };
        if answer.as_ref().is_err_and(ClientError::is_retriable) {
            self.inner.turn.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Asks the controller (in a KRaft cluster, a broker that forwards to it), up to `api_timeout_ms`. `code` finds the
    /// answer's error code: NOT_CONTROLLER is asked again elsewhere.
    pub async fn call_controller<R: Request>(
        &self,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response> {
        let mut retry = self.retry(R::NAME);
        loop {
            match self.call_controller_once(request, &code).await {
                Ok(answer) => return Ok(answer),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    async fn call_controller_once<R: Request>(
        &self,
        request: &R,
        code: &impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response> {
        let answer = match self.metadata().controller {
            Some(node) => self.call(node, request).await,
            None => self.call_next(request).await,
        };
        let error = match answer {
            Ok(answer) if code(&answer) == ErrorCode::NotController.code() => {
                ClientError::broker(code(&answer), None)
            }
            Err(error) if error.is_connection_fault() => error,
            answer => return answer,
        };
        self.refresh_once(Some(&[])).await?;
        Err(error)
    }

    /// Asks the coordinator of a group or of a transactional id, up to `api_timeout_ms`. `code` finds the answer's error
    /// code: those that mean "not here" or "not yet" are asked again.
    pub async fn call_coordinator<R: Request>(
        &self,
        kind: CoordinatorType,
        key: &str,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response> {
        let mut retry = self.retry(R::NAME);
        let limit = self.options().request_timeout();
        loop {
            match self.call_coordinator_once(kind, key, request, &code, limit).await {
                Ok(answer) => return Ok(answer),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// The same, once. An error code that means "not here" or "not yet" is an error.
    pub async fn call_coordinator_once<R: Request>(
        &self,
        kind: CoordinatorType,
        key: &str,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
        limit: Duration,
    ) -> Result<R::Response> {
        let node = self.coordinator(kind, key).await?;
        let answer = self.call_within(node, request, limit).await;
        let forget = match &answer {
            Ok(answer) => match ErrorCode::from_code(code(answer)) {
                Some(
                    code @ (ErrorCode::NotCoordinator
                    | ErrorCode::CoordinatorNotAvailable
                    | ErrorCode::CoordinatorLoadInProgress),
                ) => Some(ClientError::Broker { code, message: None }),
                _ => None,
            },
            Err(error) => Some(error.clone()).filter(ClientError::is_retriable),
        };
        match forget {
            Some(error) => {
                self.inner.coordinators.lock().remove(&(kind, key.to_owned()));
                Err(error)
            }
            None => answer,
        }
    }

    /// The broker that coordinates a group or a transactional id. Remembered until it says otherwise.
    pub async fn coordinator(&self, kind: CoordinatorType, key: &str) -> Result<NodeId> {
        let entry = (kind, key.to_owned());
        if let Some(node) = self.inner.coordinators.lock().get(&entry) {
            return Ok(*node);
        }
        let key = Str::from(key);
        let keys = vec![key.clone()];
        // Version 4 has a list of keys in place of the one (KIP-699).
        let old = FindCoordinatorRequest { key, key_type: kind as i8, ..Default::default() };
        let new =
            FindCoordinatorRequest { key_type: kind as i8, coordinator_keys: keys, ..Default::default() };
        let connection = self.connection_to_any().await?;
        let request = if connection.version_of::<FindCoordinatorRequest>()? < 4 { old } else { new };
        let answer = connection.call(&request).await?;
        let (node, code, message) = match answer.coordinators.first() {
            Some(found) => (found.node_id, found.error_code, found.error_message.as_deref()),
            None => (answer.node_id, answer.error_code, answer.error_message.as_deref()),
        };
        ClientError::check_with(code, message)?;
        if !self.metadata().brokers.contains_key(&node) {
            self.refresh_once(Some(&[])).await?;
        }
        self.inner.coordinators.lock().insert(entry, node);
        Ok(node)
    }

    async fn connection_to_any(&self) -> Result<Connection> {
        for node in self.metadata().brokers.keys() {
            if let Ok(connection) = self.connection(*node).await {
                return Ok(connection);
            }
        }
        self.refresh_once(Some(&[])).await?;
        let first =
            self.metadata().brokers.keys().next().copied().ok_or(ClientError::Incomplete("brokers"))?;
        self.connection(first).await
    }

    /// Asks for the brokers and some topics (or all) anew, up to `api_timeout_ms`. Returns the errors of single topics.
    pub async fn refresh(&self, topics: Option<&[TopicName]>) -> Result<HashMap<TopicName, ErrorCode>> {
        self.refresh_within(self.retry(MetadataRequest::NAME), topics).await
    }

    async fn refresh_within(
        &self,
        mut retry: Retry,
        topics: Option<&[TopicName]>,
    ) -> Result<HashMap<TopicName, ErrorCode>> {
        loop {
            match self.refresh_once(topics).await {
                Ok(errors) => return Ok(errors),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    async fn refresh_once(&self, topics: Option<&[TopicName]>) -> Result<HashMap<TopicName, ErrorCode>> {
        let of = |topic: &TopicName| MetadataRequestTopic {
            name: Some(topic.as_str().into()),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(of).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = self.call_next(&request).await?;
        ClientError::check(response.error_code)?;
        Ok(self.inner.metadata.update(&response, topics.is_none()))
    }

    /// A topic, from what is known or by asking. One that does not exist is looked for up to `unknown_topic_wait_ms`.
    pub async fn topic(&self, name: &TopicName) -> Result<Topic> {
        if let Some(topic) = self.known_topic(name, Topic::clone) {
            return Ok(topic);
        }
        let limit_ms = self.options().unknown_topic_wait_ms;
        let mut retry = Retry::new(self.options(), "looking for a topic", limit_ms);
        loop {
            let error = match self.look_for(name).await {
                Ok(topic) => return Ok(topic),
                Err(error) => error,
            };
            retry.again(error).await.map_err(|error| match error {
                ClientError::Timeout { last: Some(last), .. }
                    if last.is(ErrorCode::UnknownTopicOrPartition) =>
                {
                    ClientError::UnknownTopic(name.clone())
                }
                error => error,
            })?;
        }
    }

    async fn look_for(&self, name: &TopicName) -> Result<Topic> {
        let errors = self.refresh_once(Some(std::slice::from_ref(name))).await?;
        if let Some(code) = errors.get(name) {
            return Err(ClientError::Broker { code: *code, message: Some(name.to_string()) });
        }
        self.metadata().topics.get(name).cloned().ok_or(ClientError::Incomplete("the topic"))
    }

    /// The numbers of a topic's partitions, ascending.
    pub async fn partitions(&self, name: &TopicName) -> Result<Vec<PartitionId>> {
        Ok(self.topic(name).await?.partitions.iter().map(|partition| partition.index).collect())
    }

    /// A partition's leader.
    ///
    /// # Errors
    /// LEADER_NOT_AVAILABLE, which is retriable, when it has none at the moment.
    pub async fn leader(&self, partition: &TopicPartition) -> Result<NodeId> {
        let leader = |topic: &Topic| topic.partition(partition.partition).map(|found| found.leader);
        let found = match self.known_topic(&partition.topic, leader) {
            Some(found) => found,
            None => leader(&self.topic(&partition.topic).await?),
        };
        let unknown = || ClientError::UnknownPartition {
            topic: partition.topic.clone(),
            partition: partition.partition,
        };
        found.ok_or_else(unknown)?.ok_or_else(|| {
            self.doubt(&partition.topic);
            ClientError::Broker { code: ErrorCode::LeaderNotAvailable, message: Some(partition.to_string()) }
        })
    }

    /// What is known of a partition, without asking; nothing when it is too old or in doubt.
    pub(crate) fn known_partition(&self, partition: &TopicPartition) -> Option<Partition> {
        self.known_topic(&partition.topic, |topic| topic.partition(partition.partition).cloned())?
    }

    /// Looks at what is known of a topic; nothing when it is too old or in doubt.
    fn known_topic<R>(&self, name: &TopicName, look: impl FnOnce(&Topic) -> R) -> Option<R> {
        let max_age = Duration::from_millis(self.options().metadata_max_age_ms);
        self.inner.metadata.fresh_topic(name, max_age, look)
    }

    /// Asks anew for a topic before it is used next: a broker has contradicted what we know.
    pub fn doubt(&self, topic: &TopicName) {
        self.inner.metadata.doubt(topic);
    }

    /// Waits for what has been sent, then closes all connections of this client and its clones.
    pub async fn close(&self) {
        let slots: Vec<Slot> = self.inner.connections.lock().drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            if let Some(connection) = slot.lock().await.take() {
                connection.close().await;
            }
        }
    }
}
