//! Several log directories, and what becomes of the broker when one fails.

use std::path::Path;

use strata_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use strata_protocol::messages::metadata_request::MetadataRequestTopic;
use strata_protocol::messages::{
    AlterReplicaLogDirsRequest, DescribeLogDirsRequest, DescribeLogDirsResponse, MetadataRequest,
};
use strata_server::Server;
use strata_types::ErrorCode;

use crate::support::{Connection, PATIENCE, batch, start_in, values};

async fn start(dir: &Path) -> Server {
    let dirs = format!("log.dirs={0}/a,{0}/b", dir.display());
    start_in(dir, &[dirs.as_str()]).await.unwrap()
}

async fn describe(connection: &mut Connection) -> DescribeLogDirsResponse {
    connection.call(4, &DescribeLogDirsRequest { topics: None, ..Default::default() }).await
}

/// Asks for a partition of `t` to be in a directory.
async fn move_to(connection: &mut Connection, dir: &Path, partition: i32) -> i16 {
    let topic =
        AlterReplicaLogDirTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let dir = AlterReplicaLogDir {
        path: dir.display().to_string().into(),
        topics: vec![topic],
        ..Default::default()
    };
    let request = AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() };
    connection.call(2, &request).await.results[0].partitions[0].error_code
}

/// The error and the partitions of `t` of each directory.
fn shown(response: &DescribeLogDirsResponse) -> Vec<(i16, Vec<i32>)> {
    let partitions = |dir: &strata_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult| {
        let topic = dir.topics.iter().find(|topic| topic.name.as_str() == "t");
        topic
            .map(|topic| topic.partitions.iter().map(|one| one.partition_index).collect())
            .unwrap_or_default()
    };
    response.results.iter().map(|dir| (dir.error_code, partitions(dir))).collect()
}

/// Waits until clients are told that exactly these partitions of `t` have no leader and no replica that is there.
async fn leaderless(connection: &mut Connection, expected: &[i32]) {
    let topics = vec![MetadataRequestTopic { name: Some("t".into()), ..Default::default() }];
    let request = MetadataRequest { topics: Some(topics), ..Default::default() };
    let told = async {
        loop {
            let answer = connection.call(12, &request).await;
            let partitions = answer.topics[0].partitions.iter();
            let gone: Vec<_> = partitions.filter(|one| one.leader_id == -1).collect();
            if gone.iter().map(|one| one.partition_index).eq(expected.iter().copied()) {
                for one in gone {
                    assert_eq!(one.error_code, ErrorCode::LeaderNotAvailable.code());
                    assert_eq!(
                        (&one.offline_replicas, &one.isr_nodes),
                        (&one.replica_nodes, &one.replica_nodes)
                    );
                }
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("clients are not told");
}

#[tokio::test]
async fn partitions_spread_over_the_directories_and_stay_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let mut connection = Connection::open(server.local_addr()).await;
    connection.create_topic("t", 4, &[]).await;
    for partition in 0..4 {
        connection.produce("t", partition, batch(&["value"])).await;
    }
    let before = shown(&describe(&mut connection).await);
    assert_eq!(before.iter().map(|(code, all)| (*code, all.len())).collect::<Vec<_>>(), [(0, 2), (0, 2)]);
    assert!(dir.path().join("b/meta.properties").exists());
    // Where it is already; another directory, which is not supported yet; none at all.
    let (a, b) = (before[0].1[0], dir.path().join("b"));
    assert_eq!(move_to(&mut connection, &dir.path().join("a"), a).await, 0);
    assert_eq!(move_to(&mut connection, &b, a).await, ErrorCode::InvalidRequest.code());
    let none = dir.path().join("c");
    assert_eq!(move_to(&mut connection, &none, a).await, ErrorCode::LogDirNotFound.code());
    server.shutdown().await;
    let server = start(dir.path()).await;
    let mut connection = Connection::open(server.local_addr()).await;
    assert_eq!(shown(&describe(&mut connection).await), before);
    for partition in 0..4 {
        assert_eq!(values(&connection.fetch("t", partition, 0).await), [(0, "value".to_owned())]);
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_directory_that_fails_takes_its_partitions_with_it_and_the_broker_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let mut connection = Connection::open(server.local_addr()).await;
    connection.create_topic("t", 2, &[("internal.segment.bytes", "1024")]).await;
    let before = shown(&describe(&mut connection).await);
    let (kept, lost) = (before[0].1[0], before[1].1[0]);
    // The disk is gone: what is open can still be written, a new segment cannot.
    std::fs::rename(dir.path().join("b"), dir.path().join("gone")).unwrap();
    std::fs::write(dir.path().join("b"), b"no directory").unwrap();
    let filler = "x".repeat(400);
    let mut codes = Vec::new();
    for _ in 0..5 {
        codes.push(connection.produce("t", lost, batch(&[&filler])).await.error_code);
    }
    assert_eq!(*codes.last().unwrap(), ErrorCode::KafkaStorageError.code(), "{codes:?}");
    assert_eq!(connection.fetch("t", lost, 0).await.error_code, ErrorCode::KafkaStorageError.code());
    for _ in 0..5 {
        assert_eq!(connection.produce("t", kept, batch(&[&filler])).await.error_code, 0);
    }
    let after = shown(&describe(&mut connection).await);
    assert_eq!(after, [(0, vec![kept]), (ErrorCode::KafkaStorageError.code(), vec![])]);
    leaderless(&mut connection, &[lost]).await;
    // New partitions go where they can be kept.
    connection.create_topic("u", 2, &[]).await;
    for partition in 0..2 {
        assert_eq!(connection.produce("u", partition, batch(&["value"])).await.error_code, 0);
    }
    server.shutdown().await;

    // Not there at the next start: its partitions are offline, and not begun anew elsewhere.
    let server = start(dir.path()).await;
    let mut connection = Connection::open(server.local_addr()).await;
    let code = connection.produce("t", lost, batch(&["value"])).await.error_code;
    assert_eq!(code, ErrorCode::KafkaStorageError.code());
    assert_eq!(connection.produce("t", kept, batch(&["value"])).await.error_code, 0);
    leaderless(&mut connection, &[lost]).await;
    let code = connection.produce("t", lost, batch(&["value"])).await.error_code;
    assert_eq!(code, ErrorCode::KafkaStorageError.code());
    server.shutdown().await;

    // Once it is back, so are they.
    std::fs::remove_file(dir.path().join("b")).unwrap();
    std::fs::rename(dir.path().join("gone"), dir.path().join("b")).unwrap();
    let server = start(dir.path()).await;
    let mut connection = Connection::open(server.local_addr()).await;
    let found = values(&connection.fetch("t", lost, 0).await);
    let acknowledged = codes.iter().filter(|code| **code == 0).count();
    assert_eq!(found.len(), acknowledged);
    leaderless(&mut connection, &[]).await;
    server.shutdown().await;
}

#[tokio::test]
async fn without_its_first_directory_the_broker_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let mut connection = Connection::open(server.local_addr()).await;
    connection.create_topic("t", 2, &[("internal.segment.bytes", "1024")]).await;
    let first = shown(&describe(&mut connection).await)[0].1[0];
    std::fs::rename(dir.path().join("a"), dir.path().join("gone")).unwrap();
    let filler = "x".repeat(400);
    for _ in 0..5 {
        connection.produce("t", first, batch(&[&filler])).await;
    }
    let reason = tokio::time::timeout(PATIENCE, server.failed()).await.expect("it goes on");
    assert!(reason.contains("offline"), "{reason}");
}
