//! Compacted topics on a running broker.

use std::time::Duration;

use strata_protocol::messages::produce_response::PartitionProduceResponse;
use strata_protocol::records::{BatchBuilder, BuilderOptions};
use strata_types::ErrorCode;

use crate::support::{Broker, Connection, PATIENCE, batch, create_topic, values};

const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("internal.segment.bytes", "1024"),
    ("min.cleanable.dirty.ratio", "0"),
    ("file.delete.delay.ms", "0"),
];

async fn put(connection: &mut Connection, topic: &str, key: &str, value: &str) -> PartitionProduceResponse {
    let mut builder = BatchBuilder::new(BuilderOptions::default());
    builder.push_next(1_700_000_000_000, Some(key.as_bytes()), Some(value.as_bytes()), &[]).unwrap();
    connection.produce(topic, 0, builder.build().unwrap()).await
}

/// What a consumer reads from the start.
async fn read(connection: &mut Connection, topic: &str) -> Vec<(i64, String)> {
    let (mut found, mut next) = (Vec::new(), 0);
    loop {
        let fetched = connection.fetch(topic, 0, next).await;
        assert_eq!(fetched.error_code, 0);
        let some = values(&fetched);
        match some.last() {
            Some((last, _)) => next = last + 1,
            None => return found,
        }
        found.extend(some);
    }
}

/// Reads until the cleaner has left no more than so many records.
async fn compacted(connection: &mut Connection, topic: &str, records_max: usize) -> Vec<(i64, String)> {
    let wait = async {
        loop {
            let found = read(connection, topic).await;
            if found.len() <= records_max {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the topic is not compacted")
}

#[tokio::test]
async fn the_last_value_of_each_key_is_what_consumers_read() {
    let broker = Broker::with(&["log.cleaner.backoff.ms=20"]).await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, COMPACTED).await;
    let filler = "x".repeat(200);
    for n in 0..40 {
        put(&mut connection, "t", &format!("key {}", n % 4), &format!("{n} {filler}")).await;
    }
    // The last segment is never cleaned, so some records of it stay beside the last of each key.
    let found = compacted(&mut connection, "t", 8).await;
    let newest = |found: &[(i64, String)]| -> Vec<i64> {
        found.iter().rev().take(4).map(|(offset, _)| *offset).collect()
    };
    assert_eq!(newest(&found), [39, 38, 37, 36]);
    assert!(broker.dir.path().join("cleaner-offset-checkpoint").exists());
    let broker = broker.restart().await;
    // The cleaner may have gone on meanwhile.
    let again = read(&mut broker.connect().await, "t").await;
    assert!(again.len() <= found.len());
    assert_eq!(newest(&again), [39, 38, 37, 36]);
}

#[tokio::test]
async fn records_without_a_key_are_refused_where_keys_count() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, COMPACTED).await;
    let refused = connection.produce("t", 0, batch(&["no key"])).await;
    assert_eq!(refused.error_code, ErrorCode::InvalidRecord.code());
    assert_eq!(refused.record_errors.len(), 1);
    assert_eq!(put(&mut connection, "t", "key", "value").await.error_code, 0);
}

#[tokio::test]
async fn a_topic_is_archived_or_compacted_and_not_both() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let both = [("cleanup.policy", "compact"), ("remote.storage.enable", "true")];
    let response = connection.call(7, &create_topic("t", 1, &both)).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::InvalidConfig.code());
}
