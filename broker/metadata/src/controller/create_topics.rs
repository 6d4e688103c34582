//! CreateTopics (19), versions 2–7.
//!
//! - A partition count or replication factor of −1 takes the broker's default (KIP-464); with a manual assignment both
//!   must be −1.
//! - From version 5 the response tells partitions, replication factor and configs (KIP-525), from version 7 the id.
//! - A name that occurs twice creates nothing. Names that differ only in `.` and `_` collide, since metrics cannot
//!   tell them apart.
//! - A topic and its partitions and configs are one batch of the log: all of it, or none.

use std::collections::{BTreeMap, BTreeSet};

use strata_protocol::Str;
use strata_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use strata_protocol::messages::create_topics_response::CreatableTopicResult;
use strata_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicRecord};
use strata_types::{ErrorCode, InvalidTopicName, LeaderEpoch, NodeId, TopicId, TopicName};
use uuid::Uuid;

use super::placement::Placer;
use super::{
    ApiError, CONFIG_VALUE_BYTES_MAX, ConfigRules, Decision, PARTITIONS_PER_REQUEST_MAX,
    TOPICS_PER_REQUEST_MAX, TopicDefaults, duplicates,
};
use crate::image::config_record;
use crate::{ConfigResource, Image, MetadataRecord, Partition};

/// The metadata log's own name; nobody may create it.
const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// A topic that passed every check.
struct NewTopic {
    name: TopicName,
    configs: BTreeMap<Str, Str>,
    /// The replicas of each partition.
    assignment: Vec<Vec<NodeId>>,
}

/// Creates topics. `new_ids` gives the ids (one for each topic); `seed` decides where replicas go.
pub fn create_topics(
    image: &Image,
    request: &CreateTopicsRequest,
    defaults: &TopicDefaults,
    rules: &dyn ConfigRules,
    mut new_ids: &mut dyn Iterator<Item = Uuid>,
    seed: u64,
) -> Decision<CreateTopicsResponse> {
    let mut records = Vec::new();
    let mut results = Vec::with_capacity(request.topics.len());
    let mut names = Names::new(image);
    let twice = duplicates(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut answered = BTreeSet::new();
    let too_big = check_size(request, defaults);
    let mut placer = Placer::new(image, seed);
    for topic in &request.topics {
        // The response is a set of topics: a name that occurs twice is answered once.
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let result = match &too_big {
            Some(error) => Err(error.clone()),
            None if twice.contains(topic.name.as_str()) => {
                Err(ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
            }
            None => check_topic(image, topic, defaults, rules, &mut names, &mut placer),
        };
        let result = result.and_then(|new| {
            let id = Iterator::find(&mut new_ids, |&id| is_free(image, id)).ok_or_else(|| {
                ApiError::new(ErrorCode::UnknownServerError, "There is no id for the topic.")
            })?;
            Ok((new, TopicId(id)))
        });
        results.push(match result {
            Ok((new, id)) => {
                let result = created(&new, id, rules);
                if !request.validate_only {
                    records.extend(records_of(image, new, id));
                }
                result
            }
            Err(error) => CreatableTopicResult {
                name: topic.name.clone(),
                error_code: error.code.code(),
                error_message: error.message,
                ..Default::default()
            },
        });
    }
    (records, CreateTopicsResponse { topics: results, ..Default::default() })
}

/// Kafka refuses the whole of a request that is too big for one batch of the log.
fn check_size(request: &CreateTopicsRequest, defaults: &TopicDefaults) -> Option<ApiError> {
    if request.topics.len() > TOPICS_PER_REQUEST_MAX {
        return Some(ApiError::too_many("Unable to perform excessively large batch operation."));
    }
    let partitions = |topic: &CreatableTopic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => i64::from(defaults.num_partitions),
        (0, count) => i64::from(count.max(0)),
        (manual, _) => i64::try_from(manual).unwrap_or(i64::MAX),
    };
    let total = request.topics.iter().map(partitions).fold(0i64, i64::saturating_add);
    (total > PARTITIONS_PER_REQUEST_MAX)
        .then(|| ApiError::too_many("Excessively large number of partitions per request."))
}

fn check_topic(
    image: &Image,
    topic: &CreatableTopic,
    defaults: &TopicDefaults,
    rules: &dyn ConfigRules,
    names: &mut Names,
    placer: &mut Placer,
) -> Result<NewTopic, ApiError> {
    if topic.name.as_str() == CLUSTER_METADATA_TOPIC {
        let message = "Creation of internal topic __cluster_metadata is prohibited.";
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let name = names.check(&topic.name)?;
    let configs = check_configs(topic, &name, rules)?;
    let assignment = match topic.assignments.is_empty() {
        true => place(topic, defaults, placer)?,
        false => manual_assignment(image, topic)?,
    };
    Ok(NewTopic { name, configs, assignment })
}

fn check_configs(
    topic: &CreatableTopic,
    name: &TopicName,
    rules: &dyn ConfigRules,
) -> Result<BTreeMap<Str, Str>, ApiError> {
    let mut configs = BTreeMap::new();
    let mut nulls: Vec<&str> = Vec::new();
    for config in &topic.configs {
        match &config.value {
            Some(value) if value.len() > CONFIG_VALUE_BYTES_MAX => return Err(value_too_long()),
            Some(value) => {
                configs.insert(config.name.clone(), value.clone());
            }
            None => nulls.push(&config.name),
        }
    }
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(ApiError::new(ErrorCode::InvalidConfig, message));
    }
    rules
        .validate(&ConfigResource::Topic(name.clone()), &configs)
        .map_err(|invalid| ApiError::new(invalid.code, invalid.why))?;
    Ok(configs)
}

pub(super) fn value_too_long() -> ApiError {
    let message =
        "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.";
    ApiError::new(ErrorCode::InvalidConfig, message)
}

fn place(
    topic: &CreatableTopic,
    defaults: &TopicDefaults,
    placer: &mut Placer,
) -> Result<Vec<Vec<NodeId>>, ApiError> {
    let replication_factor = match topic.replication_factor {
        -1 => defaults.replication_factor,
        factor if factor < 1 => {
            let message = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message));
        }
        factor => factor,
    };
    let partitions = match topic.num_partitions {
        -1 => defaults.num_partitions,
        count if count < 1 => {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(ApiError::new(ErrorCode::InvalidPartitions, message));
        }
        count => count,
    };
    placer.check(replication_factor)?;
    Ok((0..partitions).map(|_| placer.place(replication_factor)).collect())
}

fn manual_assignment(image: &Image, topic: &CreatableTopic) -> Result<Vec<Vec<NodeId>>, ApiError> {
    if topic.replication_factor != -1 {
        let message =
            "A manual partition assignment was specified, but replication factor was not set to -1.";
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    if topic.num_partitions != -1 {
        let message = "A manual partition assignment was specified, but numPartitions was not set to -1.";
        return Err(ApiError::new(ErrorCode::InvalidRequest, message));
    }
    let mut replication_factor = None;
    let mut by_partition: BTreeMap<i32, Vec<NodeId>> = BTreeMap::new();
    for CreatableReplicaAssignment { partition_index, broker_ids, .. } in &topic.assignments {
        if by_partition.contains_key(partition_index) {
            let message =
                format!("Found multiple manual partition assignments for partition {partition_index}");
            return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        check_manual(image, *partition_index, broker_ids, replication_factor)?;
        replication_factor = Some(broker_ids.len());
        by_partition.insert(*partition_index, broker_ids.clone());
    }
    if by_partition.keys().zip(0..).any(|(&partition, expected)| partition != expected) {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    Ok(by_partition.into_values().collect())
}

/// What Kafka asks of a list of brokers that a client chose for a partition.
pub(super) fn check_manual(
    image: &Image,
    partition: i32,
    brokers: &[NodeId],
    replication_factor: Option<usize>,
) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    if brokers.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let mut sorted = brokers.to_vec();
    sorted.sort_unstable();
    for (index, &broker) in sorted.iter().enumerate() {
        if image.broker(broker).is_none() {
            return refuse(format!(
                "The manual partition assignment includes broker {broker}, but no such broker is registered."
            ));
        }
        if index > 0 && sorted[index - 1] == broker {
            return refuse(format!(
                "The manual partition assignment includes the broker {broker} more than once."
            ));
        }
    }
    if let Some(expected) = replication_factor
        && expected != brokers.len()
    {
        return refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {expected} replica(s).",
            brokers.len()
        ));
    }
    if !brokers.iter().any(|&broker| image.is_active(broker)) {
        return refuse(format!(
            "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
             controlled shutdown."
        ));
    }
    Ok(())
}

/// A new partition: every active replica is in sync, since there is nothing to be behind of.
pub(super) fn new_partition(image: &Image, replicas: Vec<NodeId>) -> Partition {
    let isr: Vec<NodeId> = replicas.iter().copied().filter(|&broker| image.is_active(broker)).collect();
    let directory = |&id: &NodeId| image.broker(id).map(|broker| broker.default_dir()).unwrap_or_default();
    Partition {
        leader: isr.first().copied(),
        isr,
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        adding_replicas: Vec::new(),
        removing_replicas: Vec::new(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        recovering: false,
        directories: replicas.iter().map(directory).collect(),
        replicas,
    }
}

fn is_free(image: &Image, id: Uuid) -> bool {
    !id.is_nil() && image.topic_by_id(TopicId(id)).is_none()
}

fn records_of(image: &Image, new: NewTopic, id: TopicId) -> Vec<MetadataRecord> {
    let name: Str = new.name.as_str().into();
    let mut records = vec![TopicRecord { name, topic_id: id.0, ..Default::default() }.into()];
    let resource = ConfigResource::Topic(new.name);
    records
        .extend(new.configs.iter().map(|(name, value)| config_record(&resource, name, Some(value)).into()));
    records.extend((0..).zip(new.assignment).map(|(partition, replicas)| {
        MetadataRecord::from(new_partition(image, replicas).to_record(id, partition))
    }));
    records
}

fn created(new: &NewTopic, id: TopicId, rules: &dyn ConfigRules) -> CreatableTopicResult {
    let replication_factor = new.assignment.first().map_or(0, Vec::len);
    CreatableTopicResult {
        name: new.name.as_str().into(),
        topic_id: id.0,
        error_message: None,
        num_partitions: i32::try_from(new.assignment.len()).unwrap_or(i32::MAX),
        replication_factor: i16::try_from(replication_factor).unwrap_or(i16::MAX),
        configs: Some(rules.describe_topic(&new.configs)),
        ..Default::default()
    }
}

/// The names that are taken. Two names of one request may collide with each other: Kafka only looks at what exists.
struct Names<'a> {
    image: &'a Image,
    /// Names with every `.` as `_`, to the name itself; made when the first name asks that could collide.
    collisions: Option<BTreeMap<String, TopicName>>,
}

impl<'a> Names<'a> {
    fn new(image: &'a Image) -> Self {
        Self { image, collisions: None }
    }

    fn check(&mut self, name: &str) -> Result<TopicName, ApiError> {
        let legal = TopicName::new(name).map_err(|why| illegal_name(name, why))?;
        if self.image.topic(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(ApiError::new(ErrorCode::TopicAlreadyExists, message));
        }
        if has_collision_chars(name) {
            let image = self.image;
            let known = self.collisions.get_or_insert_with(|| {
                let names = image.topics().map(|topic| &topic.name);
                let names = names.filter(|name| has_collision_chars(name.as_str()));
                names.map(|name| (unified(name.as_str()), name.clone())).collect()
            });
            if let Some(other) = known.get(&unified(name)) {
                let message = format!("Topic '{name}' collides with existing topic: {other}");
                return Err(ApiError::new(ErrorCode::InvalidTopicException, message));
            }
        }
        Ok(legal)
    }
}

fn has_collision_chars(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn unified(name: &str) -> String {
    name.replace('.', "_")
}

/// Kafka's words for an illegal name.
pub(super) fn illegal_name(name: &str, why: InvalidTopicName) -> ApiError {
    let why = match why {
        InvalidTopicName::Empty => "the empty string is not allowed".to_owned(),
        InvalidTopicName::Dots => format!("'{name}' is not allowed"),
        InvalidTopicName::TooLong => {
            format!("the length of '{name}' is longer than the max allowed length 249")
        }
        InvalidTopicName::IllegalCharacter => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
    };
    ApiError::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {why}"))
}
