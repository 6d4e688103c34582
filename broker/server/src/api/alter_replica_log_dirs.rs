//! AlterReplicaLogDirs (34): moves replicas between directories of this broker (KIP-113).
//!
//! - What is asked to be where it is, is there. Moving it to another directory is not supported yet: INVALID_REQUEST.
//! - A path that is none of the directories is LOG_DIR_NOT_FOUND, one that is offline KAFKA_STORAGE_ERROR, a partition that is not
//!   here REPLICA_NOT_AVAILABLE, as on a Kafka broker.

use std::ops::RangeInclusive;
use std::path::Path;

use strata_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use strata_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use strata_types::ErrorCode;

use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::security::{Operation, Resource};

pub(crate) struct AlterReplicaLogDirs;

impl Handler for AlterReplicaLogDirs {
    type Request = AlterReplicaLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<AlterReplicaLogDirsResponse, Refusal> {
        let allowed = cx.allows(Operation::Alter, Resource::Cluster);
        let mut results: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
        for dir in &request.dirs {
            for topic in &dir.topics {
                let partitions = topic.partitions.iter().map(|&partition_index| {
                    let code = match allowed {
                        true => moved(&cx.broker, &dir.path, &topic.name, partition_index),
                        false => ErrorCode::ClusterAuthorizationFailed,
                    };
                    AlterReplicaLogDirPartitionResult {
                        partition_index,
                        error_code: code.into(),
                        ..Default::default()
                    }
                });
                let topic_name = topic.name.clone();
                results.push(AlterReplicaLogDirTopicResult {
                    topic_name,
                    partitions: partitions.collect(),
                    ..Default::default()
                });
            }
        }
        Ok(AlterReplicaLogDirsResponse { results, ..Default::default() })
    }
}

fn moved(broker: &Broker, path: &str, topic: &str, partition: i32) -> ErrorCode {
    let is = |dir: &Path| {
        dir == Path::new(path) || std::path::absolute(dir).is_ok_and(|dir| dir == Path::new(path))
    };
    let dirs = broker.partitions.manager().map(|dirs| dirs.describe()).unwrap_or_default();
    let Some(wanted) = dirs.iter().find(|dir| is(&dir.path)) else { return ErrorCode::LogDirNotFound };
    if wanted.failed.is_some() {
        return ErrorCode::KafkaStorageError;
    }
    match broker.partitions.by_name(topic, partition) {
        Ok(partition) if partition.log.dir().starts_with(&wanted.path) => ErrorCode::None,
        Ok(_) => ErrorCode::InvalidRequest,
        Err(ErrorCode::KafkaStorageError) => ErrorCode::KafkaStorageError,
        Err(_) => ErrorCode::ReplicaNotAvailable,
    }
}
