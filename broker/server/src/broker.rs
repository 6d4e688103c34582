//! What every request may need: the configuration, the metadata, the partitions, the coordinators.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use strata_coordinator::share::persister::PersisterShard;
use strata_coordinator::{GroupShard, TransactionShard};
use strata_log::{LogCleaner, RemoteLog};
use strata_metadata::controller::{self, TopicDefaults};
use strata_metadata::{Image, MetadataRecord};
use strata_protocol::Str;
use strata_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use strata_quorum::{ProposeError, Quorum};
use strata_types::{ErrorCode, NodeId, TimestampMs};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::config::{Config, Endpoint};
use crate::configs::Configs;
use crate::coordinators::{Coordinators, Views};
use crate::fetch_sessions::FetchSessions;
use crate::net::Causes;
use crate::partitions::Partitions;
use crate::producer_ids::ProducerIds;
use crate::security::{Authorizer, Tokens};
use crate::share::ShareGroups;

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

impl Broker {
    /// The newest metadata.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.quorum.image()
    }

    /// Has the controller decide, and waits until what it decided is committed and this broker's partitions follow it.
    pub(crate) async fn decide<R: Send>(
        &self,
        decide: impl FnOnce(&Image) -> (Vec<MetadataRecord>, R) + Send,
    ) -> Result<R, ErrorCode> {
        let decided = self.quorum.propose(decide).await.map_err(|error: ProposeError| {
            tracing::warn!("a change of the metadata failed: {error}");
            error.code()
        })?;
        // A broker that stops follows no further; what was decided stands all the same.
        self.stopping.run_until_cancelled(self.partitions.followed(self.image().next_offset())).await;
        Ok(decided)
    }

    /// Creates topics, whoever asks: a client, or the broker for itself.
    pub(crate) async fn create_topics(
        &self,
        request: CreateTopicsRequest,
    ) -> Result<CreateTopicsResponse, ErrorCode> {
        let defaults = TopicDefaults {
            num_partitions: self.config.settings.num_partitions,
            replication_factor: self.config.settings.default_replication_factor,
        };
        let configs = self.configs.clone();
        self.decide(move |image| {
            let rules = configs.rules(image);
            let mut ids = std::iter::repeat_with(Uuid::new_v4);
            controller::create_topics(image, &request, &defaults, &rules, &mut ids, seed())
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
