//! DescribeLogDirs (35): what each partition takes on this broker's disk.
//!
//! - One result a directory; one that is offline is KAFKA_STORAGE_ERROR. No topics named means all. v4: size of the disk and what is left of it (KIP-827). v5: cordoned directories.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use strata_log::{Log, LogDirInfo};
use strata_protocol::Str;
use strata_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use strata_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use strata_types::ErrorCode;

use crate::dispatch::{Context, Handler, Refusal};
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
        let wanted = request.topics.map(|topics| {
            let named = topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|&index| (topic.topic.to_string(), index)));
            named.collect::<BTreeSet<_>>()
        });
        let dirs = cx.broker.partitions.manager().map(|dirs| dirs.describe()).unwrap_or_default();
        let results = dirs.into_iter().map(|dir| describe_dir(dir, wanted.as_ref()));
        Ok(DescribeLogDirsResponse { results: results.collect(), ..Default::default() })
    }
}

fn describe_dir(dir: LogDirInfo, wanted: Option<&BTreeSet<(String, i32)>>) -> DescribeLogDirsResult {
    let log_dir = Str::from(std::path::absolute(&dir.path).unwrap_or(dir.path.clone()).display().to_string());
    if dir.failed.is_some() {
        let error_code = ErrorCode::KafkaStorageError.into();
        return DescribeLogDirsResult {
            error_code,
            log_dir,
            total_bytes: -1,
            usable_bytes: -1,
            ..Default::default()
        };
    }
    let is_wanted = |log: &&Arc<Log>| {
        let partition = log.partition();
        wanted.is_none_or(|wanted| wanted.contains(&(partition.topic.to_string(), partition.partition)))
    };
    let mut logs: Vec<_> = dir.logs.iter().filter(is_wanted).collect();
    logs.sort_by(|a, b| a.partition().cmp(b.partition()));
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    for log in logs {
        let name = log.partition().topic.as_str();
        if topics.last().is_none_or(|topic| *topic.name != *name) {
            topics.push(DescribeLogDirsTopic { name: Str::from(name), ..Default::default() });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(describe(log));
        }
    }
    let space = rustix::fs::statvfs(&dir.path).ok();
    let bytes = |blocks: u64, size: u64| i64::try_from(blocks.saturating_mul(size)).unwrap_or(i64::MAX);
    DescribeLogDirsResult {
        log_dir,
        topics,
        total_bytes: space.as_ref().map_or(-1, |space| bytes(space.f_blocks, space.f_frsize)),
        usable_bytes: space.map_or(-1, |space| bytes(space.f_bavail, space.f_frsize)),
        ..Default::default()
    }
}

fn describe(log: &Log) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index: log.partition().partition,
        partition_size: i64::try_from(log.bytes()).unwrap_or(i64::MAX),
        // The leader's own log lags behind nobody's.
        offset_lag: 0,
        ..Default::default()
    }
}
