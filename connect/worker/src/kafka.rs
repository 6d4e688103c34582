//! The cluster over the network.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use strata_client::{
    AutoOffsetReset, Client, ClientError, ClientOptions, Consumer, ConsumerOptions, ConsumerRecord, NewTopic,
    OffsetSpec, Producer, ProducerOptions, ProducerRecord, SeekTo,
};
use strata_protocol::records::Record;
use strata_types::{ErrorCode, TopicName, TopicPartition};

use crate::cluster::{Cluster, ClusterError, Fetched, Member, NewRecord, StartAt, TopicSpec};

/// What a commit is answered when the group has a new generation.
const MOVED_ON: [ErrorCode; 3] =
    [ErrorCode::IllegalGeneration, ErrorCode::UnknownMemberId, ErrorCode::RebalanceInProgress];

const READ_WAIT: Duration = Duration::from_millis(500);

/// A connection, and the producer that all tasks share.
pub(crate) struct Kafka {
    client: Client,
    producer: Producer,
}

impl Kafka {
    pub(crate) async fn connect(bootstrap: &str) -> Result<Self, ClusterError> {
        let failed = |error| ClusterError::new(format!("connecting to {bootstrap}"), error);
        let options = ClientOptions { client_id: "strata-connect".into(), ..ClientOptions::default() };
        let client = Client::connect(bootstrap, options).await.map_err(failed)?;
        let producer = Producer::new(&client, ProducerOptions::default()).map_err(failed)?;
        Ok(Kafka { client, producer })
    }

    async fn read(&self, topic: &TopicName) -> Result<Vec<Record>, ClientError> {
        let partitions = self.client.partitions(topic).await?;
        let partitions: Vec<_> =
            partitions.into_iter().map(|partition| TopicPartition::new(topic.clone(), partition)).collect();
        let ends: Vec<_> =
            partitions.iter().map(|partition| (partition.clone(), OffsetSpec::Latest)).collect();
        let ends = self.client.list_offsets(&ends, false).await?;
        let mut consumer = Consumer::new(&self.client, ConsumerOptions::default())?;
        consumer.assign(&partitions)?;
        for partition in &partitions {
            consumer.seek(partition, SeekTo::Earliest)?;
        }
        let is_behind = |consumer: &Consumer| {
            let mut ends = ends.iter().filter(|(_, end)| end.offset.0 > 0);
            ends.any(|(partition, end)| {
                consumer.position(partition).is_none_or(|position| position < end.offset)
            })
        };
        let mut records = Vec::new();
        while is_behind(&consumer) {
            records.extend(consumer.poll(READ_WAIT).await?.into_iter().map(record));
        }
        consumer.close().await?;
        Ok(records)
    }
}

#[async_trait]
impl Cluster for Kafka {
    async fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), ClusterError> {
        let name = topic_name(&spec.name)?;
        let mut topic = NewTopic::new(name, spec.partitions);
        topic.replication_factor = spec.replication_factor;
        if spec.compacted {
            topic = topic.config("cleanup.policy", "compact");
        }
        match self.client.admin().create_topic(topic).await {
            Ok(_) => Ok(()),
            Err(error) if error.is(ErrorCode::TopicAlreadyExists) => Ok(()),
            Err(error) => Err(ClusterError::new(format!("making the topic {}", spec.name), error)),
        }
    }

    async fn read_all(&self, topic: &str) -> Result<Vec<Record>, ClusterError> {
        let name = topic_name(topic)?;
        self.read(&name).await.map_err(|error| ClusterError::new(format!("reading {topic}"), error))
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<(), ClusterError> {
        let name = topic_name(topic)?;
        let failed = |error| ClusterError::new(format!("writing to {topic}"), error);
        let mut deliveries = Vec::with_capacity(records.len());
        for NewRecord { partition, timestamp, key, value, headers } in records {
            let mut record = ProducerRecord::new(name.clone(), key, value);
            record.partition = partition;
            record.timestamp = timestamp;
            record.headers = headers;
            deliveries.push(self.producer.send(record).await.map_err(failed)?);
        }
        for delivery in deliveries {
            delivery.await.map_err(failed)?;
        }
        Ok(())
    }

    async fn join(
        &self,
        group: &str,
        topics: &[String],
        start: StartAt,
    ) -> Result<Box<dyn Member>, ClusterError> {
        let failed = |error| ClusterError::new(format!("joining the group {group}"), error);
        let options = ConsumerOptions {
            group_id: Some(group.to_owned()),
            auto_offset_reset: match start {
                StartAt::Earliest => AutoOffsetReset::Earliest,
                StartAt::Latest => AutoOffsetReset::Latest,
            },
            enable_auto_commit: false,
            ..ConsumerOptions::default()
        };
        let mut consumer = Consumer::new(&self.client, options).map_err(failed)?;
        let topics = topics.iter().map(|topic| topic_name(topic)).collect::<Result<Vec<_>, _>>()?;
        consumer.subscribe(&topics).map_err(failed)?;
        Ok(Box::new(KafkaMember { consumer, group: group.to_owned() }))
    }

    async fn committed(&self, group: &str) -> Result<Vec<(String, i32, i64)>, ClusterError> {
        let offsets = self.client.admin().group_offsets(group).await;
        let offsets: HashMap<_, _> =
            offsets.map_err(|error| ClusterError::new(format!("what {group} committed"), error))?;
        let mut offsets: Vec<_> = offsets
            .into_iter()
            .map(|(place, offset)| (place.topic.to_string(), place.partition, offset.0))
            .collect();
        offsets.sort();
        Ok(offsets)
    }

    async fn id(&self) -> Result<String, ClusterError> {
        let description = self.client.admin().describe_cluster().await;
        Ok(description.map_err(|error| ClusterError::new("describing the cluster", error))?.cluster_id)
    }
}

struct KafkaMember {
    consumer: Consumer,
    group: String,
}

impl KafkaMember {
    fn failed(&self, error: ClientError) -> ClusterError {
        ClusterError::new(format!("as a member of {}", self.group), error)
    }
}

#[async_trait]
impl Member for KafkaMember {
    async fn poll(&mut self, wait: Duration) -> Result<Vec<Fetched>, ClusterError> {
        let records = self.consumer.poll(wait).await.map_err(|error| self.failed(error))?;
        let mut parts: BTreeMap<(TopicName, i32), Vec<Record>> = BTreeMap::new();
        for found in records {
            let place = (found.topic.clone(), found.partition);
            parts.entry(place).or_default().push(record(found));
        }
        let fetched = |((topic, partition), records): ((TopicName, i32), _)| Fetched {
            topic: topic.to_string(),
            partition,
            records,
        };
        Ok(parts.into_iter().map(fetched).collect())
    }

    async fn commit(&mut self) -> Result<(), ClusterError> {
        match self.consumer.commit().await {
            Err(error) if error.code().is_some_and(|code| MOVED_ON.contains(&code)) => {
                // Somebody else has the partitions now, and gets the same records again.
                tracing::warn!(group = self.group, %error, "offsets are not committed");
                Ok(())
            }
            outcome => outcome.map_err(|error| self.failed(error)),
        }
    }

    async fn leave(self: Box<Self>) -> Result<(), ClusterError> {
        self.consumer
            .close()
            .await
            .map_err(|error| ClusterError::new(format!("leaving {}", self.group), error))
    }
}

fn topic_name(name: &str) -> Result<TopicName, ClusterError> {
    TopicName::new(name).map_err(|why| ClusterError::new(format!("the topic `{}`", name.escape_debug()), why))
}

fn record(found: ConsumerRecord) -> Record {
    let ConsumerRecord { offset, timestamp, key, value, headers, .. } = found;
    Record { offset: offset.0, timestamp, key, value, headers }
}
