//! Topics: created, listed, described, grown, cut at the front, deleted.

use std::collections::HashMap;

use strata_protocol::Message;
use strata_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use strata_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use strata_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use strata_protocol::messages::delete_topics_request::DeleteTopicState;
use strata_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteTopicsRequest, DeleteTopicsResponse,
};
use strata_types::{NodeId, Offset, TopicId, TopicName, TopicPartition};

use super::Admin;
use crate::error::{ClientError, Result};
use crate::metadata::Topic;

/// A topic to create.
#[derive(Clone, Debug)]
pub struct NewTopic {
    pub name: TopicName,
    /// -1 for the cluster's default.
    pub partitions: i32,
    /// -1 for the cluster's default.
    pub replication_factor: i16,
    pub configs: Vec<(String, String)>,
    /// The brokers of each partition, the preferred leader first; then the two numbers must be -1.
    pub assignments: Vec<Vec<NodeId>>,
}

impl NewTopic {
    /// A topic with the cluster's default replication.
    pub fn new(name: TopicName, partitions: i32) -> Self {
        Self { name, partitions, replication_factor: -1, configs: Vec::new(), assignments: Vec::new() }
    }

    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.configs.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Admin {
    /// Creates a topic and returns its id.
    ///
    /// # Errors
    /// TOPIC_ALREADY_EXISTS, INVALID_CONFIG and the like, with the controller's words.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<TopicId> {
        let mut outcomes = self.create_topics(&[topic], false).await?;
        outcomes.pop().ok_or(ClientError::Incomplete("the topic"))?.1
    }

    /// Creates topics, or only checks whether they could be created. Returns the outcome of each.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Vec<(TopicName, Result<TopicId>)>> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
            ..Default::default()
        };
        let code = |answer: &CreateTopicsResponse| answer.topics.first().map_or(0, |topic| topic.error_code);
        let answer = self.client.call_controller(&request, code).await?;
        let outcome = |topic: &NewTopic| {
            let found = answer.topics.iter().find(|found| found.name == *topic.name.as_str());
            let outcome = found.ok_or(ClientError::Incomplete("a topic")).and_then(|found| {
                ClientError::check_with(found.error_code, found.error_message.as_deref())?;
                Ok(TopicId(found.topic_id))
            });
            (topic.name.clone(), outcome)
        };
        Ok(topics.iter().map(outcome).collect())
    }

    pub async fn delete_topic(&self, name: &TopicName) -> Result<()> {
        let mut outcomes = self.delete_topics(std::slice::from_ref(name)).await?;
        outcomes.pop().ok_or(ClientError::Incomplete("the topic"))?.1
    }

    /// Deletes topics. Returns the outcome of each.
    pub async fn delete_topics(&self, names: &[TopicName]) -> Result<Vec<(TopicName, Result<()>)>> {
        let state =
            |name: &TopicName| DeleteTopicState { name: Some(name.as_str().into()), ..Default::default() };
        let request = DeleteTopicsRequest {
            topics: names.iter().map(state).collect(),
            timeout_ms: self.timeout_ms(),
            ..Default::default()
        };
        let code =
            |answer: &DeleteTopicsResponse| answer.responses.first().map_or(0, |topic| topic.error_code);
        let answer = self.client.call_controller(&request, code).await?;
        let outcome = |name: &TopicName| {
            self.client.doubt(name);
            let found = answer.responses.iter().find(|found| found.name.as_deref() == Some(name.as_str()));
            let outcome = found
                .ok_or(ClientError::Incomplete("a topic"))
                .and_then(|found| ClientError::check_with(found.error_code, found.error_message.as_deref()));
            (name.clone(), outcome)
        };
        Ok(names.iter().map(outcome).collect())
    }

    /// Grows a topic to this many partitions.
    pub async fn create_partitions(&self, name: &TopicName, count: i32) -> Result<()> {
        let topic = CreatePartitionsTopic {
            name: name.as_str().into(),
            count,
            assignments: None,
            ..Default::default()
        };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: self.timeout_ms(),
            ..Default::default()
        };
        let code =
            |answer: &CreatePartitionsResponse| answer.results.first().map_or(0, |topic| topic.error_code);
        let answer = self.client.call_controller(&request, code).await?;
        self.client.doubt(name);
        let result = answer.results.first().ok_or(ClientError::Incomplete("the topic"))?;
        ClientError::check_with(result.error_code, result.error_message.as_deref())
    }

    /// All topics that we may see, by name; internal ones included.
    pub async fn list_topics(&self) -> Result<Vec<Topic>> {
        self.client.refresh(None).await?;
        Ok(self.client.metadata().topics.values().cloned().collect())
    }

    /// One topic, asked anew.
    pub async fn describe_topic(&self, name: &TopicName) -> Result<Topic> {
        self.client.doubt(name);
        self.client.topic(name).await
    }

    /// Deletes the records before an offset (-1: all). Returns where the partition starts now.
    pub async fn delete_records(&self, partition: &TopicPartition, before: Offset) -> Result<Offset> {
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: partition.topic.as_str().into(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: partition.partition,
                    offset: before.0,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            timeout_ms: self.timeout_ms(),
            ..Default::default()
        };
        let mut retry = self.client.retry(DeleteRecordsRequest::NAME);
        loop {
            match self.delete_records_once(partition, &request).await {
                Ok(start) => return Ok(start),
                Err(error) => {
                    self.client.doubt(&partition.topic);
                    retry.again(error).await?;
                }
            }
        }
    }

    async fn delete_records_once(
        &self,
        partition: &TopicPartition,
        request: &DeleteRecordsRequest,
    ) -> Result<Offset> {
        let leader = self.client.leader(partition).await?;
        let answer = self.client.call(leader, request).await?;
        let result = answer.topics.first().and_then(|topic| topic.partitions.first());
        let result = result.ok_or(ClientError::Incomplete("the partition"))?;
        ClientError::check(result.error_code)?;
        Ok(Offset(result.low_watermark))
    }

    /// A map from name to topic, for callers that look several up.
    pub async fn describe_topics(&self, names: &[TopicName]) -> Result<HashMap<TopicName, Topic>> {
        let mut found = HashMap::new();
        for name in names {
            found.insert(name.clone(), self.describe_topic(name).await?);
        }
        Ok(found)
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let assignment = |(index, brokers): (usize, &Vec<NodeId>)| CreatableReplicaAssignment {
        partition_index: index as i32,
        broker_ids: brokers.clone(),
        ..Default::default()
    };
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    CreatableTopic {
        name: topic.name.as_str().into(),
        num_partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.iter().enumerate().map(assignment).collect(),
        configs: topic.configs.iter().map(config).collect(),
        ..Default::default()
    }
}
