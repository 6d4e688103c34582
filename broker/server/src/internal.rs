//! The topics that the broker keeps for itself: their names, and how they are made when first needed.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::CreateTopicsRequest;
use strata_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use strata_types::{ErrorCode, PartitionId};

use crate::broker::Broker;
use crate::config::Settings;

pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";
pub(crate) const TRANSACTION_STATE: &str = "__transaction_state";
pub(crate) const SHARE_GROUP_STATE: &str = "__share_group_state";
pub(crate) const TIER_INDEX: &str = "__strata_tier_index";

/// Partitions of the tier index: few, as every broker that archives reads them all.
pub(crate) const TIER_INDEX_PARTITIONS: PartitionId = 4;

/// Whether Metadata calls it internal. Kafka's word for it, which tools use to hide topics.
pub(crate) fn is_internal(topic: &str) -> bool {
    matches!(topic, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE | TIER_INDEX)
}

/// Whether a client's records would be taken for the broker's own.
pub(crate) fn is_written_by_brokers_only(topic: &str) -> bool {
    is_internal(topic)
}

/// Makes an internal topic unless it is there. Answers the number of its partitions.
pub(crate) async fn ensure(broker: &Arc<Broker>, topic: &'static str) -> Result<PartitionId, ErrorCode> {
    if let Some(found) = broker.image().topic(topic) {
        return Ok(found.partitions.len() as PartitionId);
    }
    let Layout { num_partitions, replication_factor, configs } = layout(&broker.config.settings, topic);
    let brokers = broker.image().brokers().filter(|b| !b.fenced).count().max(1);
    let configs = configs.into_iter().map(|(name, value)| CreatableTopicConfig {
        name: Str::from_static(name),
        value: Some(value),
        ..Default::default()
    });
    let creatable = CreatableTopic {
        name: Str::from_static(topic),
        num_partitions,
        // As many replicas as asked for where there are brokers for them; Kafka would wait for the missing ones for ever.
        replication_factor: replication_factor.min(brokers as i16),
        configs: configs.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![creatable], ..Default::default() };
    let response = broker.create_topics(request).await?;
    let code = response.topics.first().map_or(ErrorCode::UnknownServerError.into(), |topic| topic.error_code);
    match ErrorCode::from_code(code) {
        // Somebody else was quicker.
        Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => {
            let image = broker.image();
            Ok(image.topic(topic).ok_or(ErrorCode::CoordinatorNotAvailable)?.partitions.len() as PartitionId)
        }
        code => Err(code.unwrap_or(ErrorCode::UnknownServerError)),
    }
}

/// How an internal topic is made.
struct Layout {
    num_partitions: PartitionId,
    replication_factor: i16,
    configs: Vec<(&'static str, Str)>,
}

/// As Kafka makes them.
fn layout(settings: &Settings, topic: &str) -> Layout {
    let text = Str::from_static;
    let number = |number: i64| Str::from(number.to_string());
    match topic {
        TRANSACTION_STATE => Layout {
            num_partitions: settings.transaction_state_log_num_partitions,
            replication_factor: settings.transaction_state_log_replication_factor,
            configs: vec![
                ("cleanup.policy", text("compact")),
                ("compression.type", text("uncompressed")),
                ("min.insync.replicas", number(settings.transaction_state_log_min_isr.into())),
                ("segment.bytes", number(settings.transaction_state_log_segment_bytes)),
                ("unclean.leader.election.enable", text("false")),
            ],
        },
        SHARE_GROUP_STATE => Layout {
            num_partitions: settings.share_state_topic_num_partitions,
            replication_factor: settings.share_state_topic_replication_factor,
            configs: vec![
                ("cleanup.policy", text("delete")),
                ("compression.type", text("uncompressed")),
                ("min.insync.replicas", number(settings.share_state_topic_min_isr.into())),
                ("retention.ms", text("-1")),
                ("segment.bytes", number(settings.share_state_topic_segment_bytes)),
            ],
        },
        _ => Layout {
            num_partitions: match topic {
                CONSUMER_OFFSETS => settings.offsets_topic_num_partitions,
                _ => TIER_INDEX_PARTITIONS,
            },
            replication_factor: settings.offsets_topic_replication_factor,
            configs: vec![
                ("cleanup.policy", text("compact")),
                ("compression.type", text("producer")),
                ("segment.bytes", number(settings.offsets_topic_segment_bytes)),
            ],
        },
    }
}
