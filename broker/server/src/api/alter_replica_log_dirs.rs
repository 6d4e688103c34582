//! AlterReplicaLogDirs (34): moves replicas between directories of this broker (KIP-113).
//!
//! - There is one directory, and everything is in it already: what is moved there is there. Other paths are LOG_DIR_NOT_FOUND,
//!   partitions that are not here REPLICA_NOT_AVAILABLE, as on a Kafka broker with one directory.

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
    let dir = &broker.config.data_dir;
    let same = Path::new(path) == dir || std::path::absolute(dir).is_ok_and(|dir| dir == Path::new(path));
    match broker.partitions.by_name(topic, partition) {
        _ if !same => ErrorCode::LogDirNotFound,
        Ok(_) => ErrorCode::None,
        Err(_) => ErrorCode::ReplicaNotAvailable,
    }
}
