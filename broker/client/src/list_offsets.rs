//! Offsets by time: the earliest, the latest, or the first at or after a timestamp.

use std::collections::HashMap;

use strata_protocol::Message;
use strata_protocol::messages::ListOffsetsRequest;
use strata_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use strata_types::{LeaderEpoch, NodeId, Offset, TimestampMs, TopicName, TopicPartition};

use crate::client::Client;
use crate::error::{ClientError, Result};

/// Which offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Where the log starts.
    Earliest,
    /// Behind the last record that may be read.
    Latest,
    /// The record with the highest timestamp (KIP-734).
    MaxTimestamp,
    /// The first that is still on the broker's own disk (KIP-405).
    EarliestLocal,
    /// The last that is in the archive (KIP-1005).
    LatestTiered,
    /// The first record whose timestamp is this or later.
    Timestamp(TimestampMs),
}

impl OffsetSpec {
    fn on_wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
            Self::Timestamp(timestamp) => timestamp,
        }
    }
}

/// What a broker says. The offset is -1 where there is none, for example no record that late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    pub offset: Offset,
    /// -1 unless a record was looked for.
    pub timestamp: TimestampMs,
    pub leader_epoch: LeaderEpoch,
}

impl Client {
    /// Asks each partition's leader for an offset, up to `api_timeout_ms`. `read_committed` puts "latest" at the first
    /// open transaction.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        read_committed: bool,
    ) -> Result<HashMap<TopicPartition, ListedOffset>> {
        let mut found = HashMap::new();
        let mut retry = self.retry(ListOffsetsRequest::NAME);
        loop {
            match self.list_offsets_once(wanted, read_committed, &mut found).await {
                Ok(()) => return Ok(found),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// Asks for what has not been found yet.
    async fn list_offsets_once(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        read_committed: bool,
        found: &mut HashMap<TopicPartition, ListedOffset>,
    ) -> Result<()> {
        let mut by_leader: HashMap<NodeId, Vec<&(TopicPartition, OffsetSpec)>> = HashMap::new();
        for one in wanted.iter().filter(|(partition, _)| !found.contains_key(partition)) {
            by_leader.entry(self.leader(&one.0).await?).or_default().push(one);
        }
        for (leader, wanted) in by_leader {
            self.list_offsets_of(leader, &wanted, read_committed, found).await?;
        }
        Ok(())
    }

    async fn list_offsets_of(
        &self,
        leader: NodeId,
        wanted: &[&(TopicPartition, OffsetSpec)],
        read_committed: bool,
        found: &mut HashMap<TopicPartition, ListedOffset>,
    ) -> Result<()> {
        let request = request(wanted, read_committed, self.options().request_timeout_ms);
        let answer = self.call(leader, &request).await;
        if answer.as_ref().is_err_and(ClientError::is_connection_fault) {
            wanted.iter().for_each(|(partition, _)| self.doubt(&partition.topic));
        }
        let mut outcome = Ok(());
        for topic in answer?.topics {
            let Ok(name) = TopicName::new(&topic.name) else { continue };
            for answer in &topic.partitions {
                let partition = TopicPartition::new(name.clone(), answer.partition_index);
                if let Err(error) = ClientError::check_with(answer.error_code, Some(&partition.to_string())) {
                    self.doubt(&name);
                    outcome = Err(error);
                    continue;
                }
                let listed = ListedOffset {
                    offset: Offset(answer.offset),
                    timestamp: answer.timestamp,
                    leader_epoch: LeaderEpoch(answer.leader_epoch),
                };
                found.insert(partition, listed);
            }
        }
        if outcome.is_ok() && wanted.iter().any(|(partition, _)| !found.contains_key(partition)) {
            return Err(ClientError::Incomplete("a partition's offset"));
        }
        outcome
    }
}

fn request(
    wanted: &[&(TopicPartition, OffsetSpec)],
    read_committed: bool,
    timeout_ms: u64,
) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (partition, spec) in wanted {
        let asked = ListOffsetsPartition {
            partition_index: partition.partition,
            timestamp: spec.on_wire(),
            ..Default::default()
        };
        let name = partition.topic.as_str();
        match topics.iter_mut().find(|topic| topic.name == *name) {
            Some(topic) => topic.partitions.push(asked),
            None => topics.push(ListOffsetsTopic {
                name: name.into(),
                partitions: vec![asked],
                ..Default::default()
            }),
        }
    }
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: i8::from(read_committed),
        topics,
        timeout_ms: i32::try_from(timeout_ms).unwrap_or(i32::MAX),
        ..Default::default()
    }
}
