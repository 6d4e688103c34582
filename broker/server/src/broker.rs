//! What every request may need: the configuration, the metadata, the partitions, the coordinators.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use strata_coordinator::share::persister::PersisterShard;
use strata_coordinator::{GroupShard, TransactionShard};
use strata_log::{LogCleaner, RemoteLog};
use strata_metadata::controller::{self, TopicDefaults};
use strata_metadata::{Image, MetadataRecord};
use strata_protocol::Str;
use strata_protocol::messages::create_topics_response::CreatableTopicResult;
use strata_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use strata_quorum::{ProposeError, Quorum};
use strata_types::{ErrorCode, NodeId, TimestampMs, TopicId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

use crate::config::{Config, Endpoint};
use crate::configs::Configs;
use crate::coordinators::{Coordinators, Views};
use crate::fetch_sessions::FetchSessions;
use crate::metrics::Metrics;
use crate::net::{Causes, Limits};
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::quotas::{self, Mutations, Quotas};
use crate::security::{Authorizer, Tokens};
use crate::share::ShareGroups;
use crate::telemetry::Telemetry;
use crate::trace::span;

/// One running broker.
pub(crate) struct Broker {
    pub config: Arc<Config>,
    pub configs: Configs,
    pub cluster_id: Str,
    pub node_id: NodeId,
    /// As registered: with real ports.
    pub advertised: Vec<Endpoint>,
    pub quorum: Quorum,
    /// The epoch that the controller gave this run of the broker.
    pub epoch: i64,
    pub partitions: Arc<Partitions>,
    pub groups: Coordinators<GroupShard>,
    pub transactions: Coordinators<TransactionShard>,
    pub cleaner: LogCleaner,
    /// What group coordinators know of the metadata.
    pub views: Views,
    pub persister: Coordinators<PersisterShard>,
    pub share: ShareGroups,
    pub fetch_sessions: FetchSessions,
    pub producer_ids: ProducerIds,
    pub authorizer: Authorizer,
    /// `None`: there are no delegation tokens.
    pub tokens: Option<Tokens>,
    pub quotas: Quotas,
    /// Who may connect.
    pub limits: Arc<Limits>,
    pub metrics: Arc<Metrics>,
    /// What clients tell of themselves.
    pub telemetry: Telemetry,
    /// What was forbidden lately, for the log.
    pub denials: Causes,
    pub remote: Option<Arc<dyn RemoteLog>>,
    /// Everything that runs beside the requests.
    pub tasks: TaskTracker,
    /// Cancelled when the broker shuts down: long polls end, coordinators leave.
    pub stopping: CancellationToken,
}

/// The time; every request asks once.
pub(crate) fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs::try_from(since.as_millis()).unwrap_or(TimestampMs::MAX)
}

/// A deadline further off than this is looked at again in between.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// Resolves at `deadline`; never without one.
pub(crate) async fn until(deadline: Option<TimestampMs>) {
    match deadline {
        Some(deadline) => {
            let wait = u64::try_from(deadline.saturating_sub(now())).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(wait).min(SLEEP_MAX)).await;
        }
        None => std::future::pending().await,
    }
}

impl Broker {
    /// What quotas go by: milliseconds that pass evenly, whatever is done to the clock on the wall.
    pub(crate) fn clock_ms(&self, now: Instant) -> i64 {
        now.saturating_duration_since(self.metrics.started).as_millis() as i64
    }

    /// The newest metadata.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.quorum.image()
    }

    /// Has the controller decide, and waits until what it decided is committed and this broker's partitions follow it.
    pub(crate) async fn decide<R: Send>(
        &self,
        decide: impl FnOnce(&Image) -> (Vec<MetadataRecord>, R) + Send,
    ) -> Result<R, ErrorCode> {
        let decided = self.quorum.propose(decide).instrument(span!("metadata")).await.map_err(
            |error: ProposeError| {
                tracing::warn!("a change of the metadata failed: {error}");
                error.code()
            },
        )?;
        // A broker that stops follows no further; what was decided stands all the same.
        self.stopping.run_until_cancelled(self.partitions.followed(self.image().next_offset())).await;
        Ok(decided)
    }

    /// Creates topics for the broker itself.
    pub(crate) async fn create_topics(
        &self,
        request: CreateTopicsRequest,
    ) -> Result<CreateTopicsResponse, ErrorCode> {
        self.create_topics_within(request, None).await
    }

    /// Creates topics, as many as the sender's quota allows.
    pub(crate) async fn create_topics_within(
        &self,
        request: CreateTopicsRequest,
        quota: Option<&mut Mutations<'_>>,
    ) -> Result<CreateTopicsResponse, ErrorCode> {
        let defaults = TopicDefaults {
            num_partitions: self.config.settings.num_partitions,
            replication_factor: self.config.settings.default_replication_factor,
        };
        let configs = self.configs.clone();
        self.decide(move |image| {
            let rules = configs.rules(image);
            let mut ids = std::iter::repeat_with(Uuid::new_v4);
            let (mut records, mut response) =
                controller::create_topics(image, &request, &defaults, &rules, &mut ids, seed());
            let refused = quota.map(|quota| quota.charge(image, &mut records)).unwrap_or_default();
            for topic in response.topics.iter_mut().filter(|t| refused.contains(&TopicId(t.topic_id))) {
                *topic = CreatableTopicResult {
                    name: topic.name.clone(),
                    error_code: ErrorCode::ThrottlingQuotaExceeded.into(),
                    error_message: Some(Str::from_static(quotas::REFUSED)),
                    ..Default::default()
                };
            }
            (records, response)
        })
        .await
    }

    /// The address that clients of a listener reach a broker at; `None` where it has no such listener.
    pub(crate) fn endpoint(&self, broker: &strata_metadata::Broker, listener: &str) -> Option<(Str, i32)> {
        let endpoint = broker.endpoints.iter().find(|endpoint| *endpoint.listener == *listener)?;
        Some((endpoint.host.clone(), i32::from(endpoint.port)))
    }
}

/// Where the placement of replicas starts from, so that not every topic's first partition is on the first broker.
pub(crate) fn seed() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}
