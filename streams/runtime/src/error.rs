use strata_client::ClientError;
use strata_plugin_host::PluginError;
use strata_state::StateError;
use strata_topology::{GraphError, InvalidApplicationId};
use strata_types::TopicName;

/// Why an application, or a call about one, failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("plugin: {0}")]
    Plugin(#[from] PluginError),
    #[error("state: {0}")]
    State(#[from] StateError),
    #[error("topology: {0}")]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Application(#[from] InvalidApplicationId),
    #[error("a batch for the plugin: {0}")]
    Batch(#[from] strata_protocol::records::BuildError),
    #[error("topology: {0}")]
    Topic(#[from] strata_types::InvalidTopicName),
    #[error("source topic '{0}' does not exist")]
    NoSourceTopic(TopicName),
    #[error(
        "topic '{topic}' has {found} partitions where the application needs {needed}: delete it, or reset the application"
    )]
    Partitions { topic: TopicName, found: usize, needed: usize },
    #[error("the plugin is {bytes} bytes; at most {limit_bytes} can be deployed")]
    PluginTooLarge { bytes: usize, limit_bytes: usize },
    #[error("the plugin sent records to node {target}, which takes none")]
    NoSuchTarget { target: u32 },
    #[error("the plugin {sha256} of application '{application}' was never uploaded")]
    PluginMissing { application: String, sha256: String },
    #[error("a record in {topic} is not a deployment: {why}")]
    BadDeployment { topic: &'static str, why: String },
    #[error("a topology without an end: records went through more than {limit} nodes in one call")]
    TooDeep { limit: usize },
    #[error("there is no application '{0}'")]
    NoSuchApplication(String),
}
