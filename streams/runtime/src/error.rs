use strata_client::ClientError;
use strata_plugin_host::{PluginError, Returned, Verdict};
use strata_state::StateError;
use strata_topology::{GraphError, InvalidApplicationId};
use strata_types::{ErrorCode, Offset, TopicName, TopicPartition};

/// Why an application, or a call about one, failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("plugin: {0}")]
    Plugin(#[from] PluginError),
    /// Nothing that the plugin did with this batch is kept.
    #[error("{source}, at {partition} offset {offset}")]
    Processing {
        partition: TopicPartition,
        /// Of the record that the plugin names, or of the batch's first.
        offset: Offset,
        #[source]
        source: PluginError,
    },
    #[error("a task could not be opened: {0}")]
    Opening(String),
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
    #[error(
        "topics '{one}' and '{other}' are read into a common store, so they need the same number of partitions, and have \
         {one_has} and {other_has}"
    )]
    NotCopartitioned { one: TopicName, one_has: i32, other: TopicName, other_has: i32 },
    #[error("the plugin is {bytes} bytes; at most {limit_bytes} can be deployed")]
    PluginTooLarge { bytes: usize, limit_bytes: usize },
    #[error("the plugin sent records to node {target}, which takes none")]
    NoSuchTarget { target: u32 },
    #[error("the plugin {sha256} of application '{application}' was never uploaded")]
    PluginMissing { application: String, sha256: String },
    #[error("a record in {topic} is not a deployment: {why}")]
    BadDeployment { topic: &'static str, why: String },
    #[error("one batch needs more than {limit} calls of the plugin")]
    TooManyCalls { limit: usize },
    #[error("the plugin makes more than {limit_bytes} bytes out of one batch")]
    TooMuchOutput { limit_bytes: usize },
    #[error("there is no application '{0}'")]
    NoSuchApplication(String),
}

impl RuntimeError {
    /// Whether the application may get further by trying again from its last commit, with nobody changing anything:
    /// the cluster is away, the group has moved on, a producer was fenced, or the plugin asks for it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Client(error) => is_transient(error),
            Self::Plugin(error) | Self::Processing { source: error, .. } => {
                matches!(error, PluginError::Returned(Returned { verdict: Verdict::Retry, .. }))
            }
            _ => false,
        }
    }
}

/// Of the client's errors those that pass. Its own retries are over when it answers with one of them.
pub fn is_transient(error: &ClientError) -> bool {
    use ErrorCode::{
        IllegalGeneration, InvalidProducerEpoch, OutOfOrderSequenceNumber, RebalanceInProgress,
        UnknownMemberId, UnknownProducerId,
    };
    let has_moved_on = matches!(
        error.code(),
        Some(
            IllegalGeneration
                | InvalidProducerEpoch
                | OutOfOrderSequenceNumber
                | RebalanceInProgress
                | UnknownMemberId
                | UnknownProducerId
        )
    );
    has_moved_on
        || error.is_retriable()
        || matches!(error, ClientError::Timeout { .. } | ClientError::NoOffset { .. } | ClientError::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returned(verdict: Verdict) -> RuntimeError {
        let returned = Returned { verdict, message: "no".into(), record: None };
        RuntimeError::Processing {
            partition: TopicPartition::new(TopicName::new("in").expect("legal"), 0),
            offset: Offset(7),
            source: PluginError::Returned(returned),
        }
    }

    #[test]
    fn a_plugin_is_tried_again_only_when_it_asks_for_it() {
        assert!(returned(Verdict::Retry).is_transient());
        assert!(!returned(Verdict::Reject).is_transient());
        assert!(!returned(Verdict::Stop).is_transient());
        assert!(!RuntimeError::Plugin(PluginError::Trap { reason: "unreachable".into() }).is_transient());
        assert_eq!(returned(Verdict::Stop).to_string(), "the plugin says: no, at in-0 offset 7");
    }

    #[test]
    fn an_outage_and_a_rebalance_pass_and_missing_rights_do_not() {
        let broker = |code: ErrorCode| RuntimeError::Client(ClientError::broker(code.code(), None));
        assert!(broker(ErrorCode::IllegalGeneration).is_transient());
        assert!(broker(ErrorCode::NotCoordinator).is_transient());
        let last = Some(Box::new(ClientError::broker(ErrorCode::NotCoordinator.code(), None)));
        assert!(RuntimeError::Client(ClientError::Timeout { what: "a call", ms: 1, last }).is_transient());
        assert!(!broker(ErrorCode::TopicAuthorizationFailed).is_transient());
    }
}
