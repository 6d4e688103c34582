use std::sync::Arc;

use strata_log::{RemoteLog, RetentionLimits};
use strata_store::{Tier, read_manifest};
use strata_types::Offset;

use crate::faulty::{Fault, Faulty, Op};
use crate::host::{TestHost, consume, store, tier};

/// Three objects of five records each.
async fn three_objects(faulty: &Arc<Faulty>, host: &Arc<TestHost>) -> Arc<Tier> {
    let tier = tier(faulty);
    for _ in 0..3 {
        host.produce(5);
        tier.run_once(&**host, 0).await;
    }
    tier.attach(host.clone());
    tier
}

fn limits() -> RetentionLimits {
    RetentionLimits { retention_ms: None, retention_bytes: None, log_start_offset: Offset(0), local_bytes: 0 }
}

#[tokio::test]
async fn retention_by_age_takes_whole_objects() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = three_objects(&faulty, &host).await;
    // The objects' youngest records have 40, 90 and 140.
    let by_age = RetentionLimits { retention_ms: Some(1_000), ..limits() };
    let start = tier.enforce_retention(&host.id, by_age, 1_040).await.expect("kept");
    assert_eq!((start, faulty.names("data").await.len()), (Offset(0), 3));
    let start = tier.enforce_retention(&host.id, by_age, 1_041).await.expect("the first goes");
    assert_eq!(start, Offset(5));
    assert_eq!(tier.earliest_offset(&host.id), Some(Offset(5)));
    assert_eq!((faulty.names("data").await.len(), faulty.names("manifest").await.len()), (2, 2));
    assert_eq!(consume(&tier, &host.id, Offset(5)).await.len(), 10);
}

#[tokio::test]
async fn retention_by_bytes_keeps_at_least_its_limit() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = three_objects(&faulty, &host).await;
    let object = tier.bytes(&host.id) / 3;
    let by_bytes = |max| RetentionLimits { retention_bytes: Some(max), local_bytes: object, ..limits() };
    let start = tier.enforce_retention(&host.id, by_bytes(object * 4), 0).await.expect("kept");
    assert_eq!(start, Offset(0));
    let start = tier.enforce_retention(&host.id, by_bytes(object * 3), 0).await.expect("the first goes");
    assert_eq!(start, Offset(5));
    let start = tier.enforce_retention(&host.id, by_bytes(0), 0).await.expect("all go");
    assert_eq!((start, tier.bytes(&host.id)), (Offset(15), 0));
    assert!(faulty.names("").await.is_empty());
}

#[tokio::test]
async fn deleted_records_leave_the_archive_by_whole_objects() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = three_objects(&faulty, &host).await;
    tier.start_offset_advanced(&host.id, Offset(12)).await.expect("two go");
    assert_eq!(tier.earliest_offset(&host.id), Some(Offset(10)));
    assert_eq!(faulty.names("data").await.len(), 1);
}

#[tokio::test]
async fn an_interrupted_deletion_is_ended_by_the_sweep() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = three_objects(&faulty, &host).await;
    faulty.order(Op::Delete, Fault::Fails);
    assert!(tier.start_offset_advanced(&host.id, Offset(10)).await.is_err());
    assert_eq!(tier.earliest_offset(&host.id), Some(Offset(10)), "readers do not see them any more");
    assert_eq!(faulty.names("data").await.len(), 3, "but they are there");
    host.log.advance_start_offset(Offset(10)).expect("the log follows");
    assert_eq!(tier.sweep(&*host, 0).await.expect("a sweep"), 2);
    assert_eq!((faulty.names("data").await.len(), faulty.names("manifest").await.len()), (1, 1));
}

#[tokio::test]
async fn a_deleted_topic_leaves_nothing_but_a_marker_for_a_while() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = three_objects(&faulty, &host).await;
    faulty.order(Op::Delete, Fault::Fails);
    let topic = &host.id.partition.topic;
    assert!(tier.topic_deleted(host.id.topic_id, topic).await.is_err());
    assert_eq!(tier.archived_until(&host.id), None);
    tier.sweep(&*host, 0).await.expect("it ends the deletion");
    assert!(faulty.names("data").await.is_empty() && faulty.names("manifest").await.is_empty());
    assert_eq!(faulty.names("deleted").await.len(), 1);
    tier.sweep(&*host, i64::MAX).await.expect("it takes the marker");
    assert!(faulty.names("").await.is_empty());
    assert!(read_manifest(&store(&faulty)).await.expect("an empty bucket").topics().is_empty());
}
