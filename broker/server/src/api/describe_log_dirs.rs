//! DescribeLogDirs (35): what each partition takes on this broker's disk.
//!
//! - No topics named means all. v4: size of the disk and what is left of it (KIP-827). v5: cordoned directories.

use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use strata_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::dispatch::{Context, Handler, Refusal};
use crate::partition::Partition;
use crate::security::{Operation, Resource};

pub(crate) struct DescribeLogDirs;

impl Handler for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=5;

    async fn handle(cx: Context, request: Self::Request) -> Result<DescribeLogDirsResponse, Refusal> {
        if let Err(code) = cx.check(Operation::Describe, Resource::Cluster) {
            // Before v3 there is no room for the code: nothing is told.
            let error_code = if cx.version >= 3 { code.into() } else { 0 };
            return Ok(DescribeLogDirsResponse { error_code, ..Default::default() });
        }
        let partitions = &cx.broker.partitions;
        let mut found: Vec<Arc<Partition>> = match request.topics {
            None => partitions.all(),
            Some(topics) => {
                let named = topics.iter().flat_map(|topic| {
                    topic.partitions.iter().filter_map(|&index| partitions.by_name(&topic.topic, index).ok())
                });
                named.collect()
            }
        };
        found.sort_by(|a, b| a.id.partition.cmp(&b.id.partition));
        let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
        for partition in found {
            let name = partition.id.partition.topic.as_str();
            if topics.last().is_none_or(|topic| *topic.name != *name) {
                topics.push(DescribeLogDirsTopic { name: Str::from(name), ..Default::default() });
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(describe(&partition));
            }
        }
        let dir = &cx.broker.config.data_dir;
        let space = rustix::fs::statvfs(dir).ok();
        let bytes = |blocks: u64, size: u64| i64::try_from(blocks.saturating_mul(size)).unwrap_or(i64::MAX);
        let result = DescribeLogDirsResult {
            log_dir: Str::from(dir.display().to_string()),
            topics,
            total_bytes: space.as_ref().map_or(-1, |space| bytes(space.f_blocks, space.f_frsize)),
            usable_bytes: space.map_or(-1, |space| bytes(space.f_bavail, space.f_frsize)),
            ..Default::default()
        };
        Ok(DescribeLogDirsResponse { results: vec![result], ..Default::default() })
    }
}

fn describe(partition: &Partition) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index: partition.id.partition.partition,
        partition_size: i64::try_from(partition.log.bytes()).unwrap_or(i64::MAX),
        // The leader's own log lags behind nobody's.
        offset_lag: 0,
        ..Default::default()
    }
}
