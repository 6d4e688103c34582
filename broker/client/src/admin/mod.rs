//! Creating, describing, altering and deleting what a cluster has.

mod configs;
mod groups;
mod topics;

use strata_types::NodeId;

use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::metadata::Broker;

pub use configs::{ConfigEntry, ConfigResource};
pub use groups::{DescribedGroup, DescribedMember, ListedGroup};
pub use topics::NewTopic;

use strata_protocol::messages::DescribeClusterRequest;

/// Administration of a cluster. Calls are retried up to the client's `api_timeout_ms`.
#[derive(Clone)]
pub struct Admin {
    client: Client,
}

/// A cluster's brokers, as DescribeCluster tells them.
#[derive(Clone, Debug)]
pub struct ClusterDescription {
    pub cluster_id: String,
    pub controller: Option<NodeId>,
    pub brokers: Vec<Broker>,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let answer = self.client.call_any(&DescribeClusterRequest::default()).await?;
        ClientError::check_with(answer.error_code, answer.error_message.as_deref())?;
        let brokers = answer.brokers.iter().map(|broker| Broker {
            id: broker.broker_id,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_ref().map(|rack| rack.to_string()),
        });
        Ok(ClusterDescription {
            cluster_id: answer.cluster_id.to_string(),
            controller: Some(answer.controller_id).filter(|id| *id >= 0),
            brokers: brokers.collect(),
        })
    }

    /// How long the controller may take, as requests say it.
    fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.options().request_timeout_ms).unwrap_or(i32::MAX)
    }
}
