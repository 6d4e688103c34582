//! Finding out where to start: what the group has committed, and otherwise what the policy or a seek says.

use std::collections::HashMap;

use strata_types::{Offset, TopicPartition};

use super::AutoOffsetReset;
use super::partitions::Position;
use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::list_offsets::OffsetSpec;
use crate::offsets::{self, Member};

/// A partition, what was asked of it, and the answer.
pub(crate) type Resolved = (TopicPartition, Position, Offset);

/// What is needed to answer.
pub(crate) struct Resolving {
    pub(crate) client: Client,
    pub(crate) group: Option<String>,
    pub(crate) member: Member,
    pub(crate) policy: AutoOffsetReset,
    pub(crate) read_committed: bool,
    pub(crate) wanted: Vec<(TopicPartition, Position)>,
}

/// Where the policy sends a partition that has no valid offset.
pub(crate) fn reset(policy: AutoOffsetReset, partition: &TopicPartition) -> Result<OffsetSpec> {
    match policy {
        AutoOffsetReset::Earliest => Ok(OffsetSpec::Earliest),
        AutoOffsetReset::Latest => Ok(OffsetSpec::Latest),
        AutoOffsetReset::None => Err(ClientError::NoOffset { partition: partition.clone() }),
    }
}

impl Resolving {
    pub(crate) async fn run(self) -> Result<Vec<Resolved>> {
        let committed = self.committed().await?;
        let mut resolved = Vec::new();
        let mut listed = Vec::new();
        for (partition, position) in &self.wanted {
            let spec = match (position, committed.get(partition)) {
                (Position::Unknown, Some(offset)) => {
                    resolved.push((partition.clone(), *position, *offset));
                    continue;
                }
                (Position::Unknown, None) => reset(self.policy, partition)?,
                (Position::Seek(spec), _) => *spec,
                (Position::At(_), _) => continue,
            };
            listed.push((partition.clone(), *position, spec));
        }
        let asked: Vec<_> = listed.iter().map(|(partition, _, spec)| (partition.clone(), *spec)).collect();
        let mut offsets = self.list(&asked).await?;
        let nothing_that_late = |(partition, _): &(TopicPartition, OffsetSpec)| {
            offsets
                .get(partition)
                .filter(|offset| offset.0 < 0)
                .map(|_| (partition.clone(), OffsetSpec::Latest))
        };
        let late: Vec<_> = asked.iter().filter_map(nothing_that_late).collect();
        offsets.extend(self.list(&late).await?);
        for (partition, position, _) in listed {
            let offset =
                offsets.get(&partition).copied().ok_or(ClientError::Incomplete("a partition's offset"))?;
            resolved.push((partition, position, offset));
        }
        Ok(resolved)
    }

    async fn committed(&self) -> Result<HashMap<TopicPartition, Offset>> {
        let unknown = |(partition, position): &(TopicPartition, Position)| {
            (*position == Position::Unknown).then(|| partition.clone())
        };
        let partitions: Vec<_> = self.wanted.iter().filter_map(unknown).collect();
        let Some(group) = self.group.as_ref().filter(|_| !partitions.is_empty()) else {
            return Ok(HashMap::new());
        };
        let committed = offsets::fetch(&self.client, group, Some(&partitions), Some(&self.member)).await?;
        Ok(committed.into_iter().map(|(partition, committed)| (partition, committed.offset)).collect())
    }

    async fn list(&self, wanted: &[(TopicPartition, OffsetSpec)]) -> Result<HashMap<TopicPartition, Offset>> {
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let listed = self.client.list_offsets(wanted, self.read_committed).await?;
        Ok(listed.into_iter().map(|(partition, listed)| (partition, listed.offset)).collect())
    }
}
