use std::sync::atomic::Ordering;

use strata_log::RemoteLog;
use strata_store::{Tier, read_manifest};
use strata_types::Offset;

use crate::faulty::Faulty;
use crate::host::{TestHost, consume, options, store, tier};

#[tokio::test]
async fn archived_records_are_read_back_as_they_were() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    for count in [5, 1, 12, 7] {
        host.produce(count);
    }
    let report = tier.run_once(&*host, 0).await;
    assert_eq!((report.objects, report.failures.len()), (1, 0), "{:?}", report.failures);
    assert_eq!(tier.archived_until(&host.id), Some(Offset(25)));
    assert_eq!(tier.earliest_offset(&host.id), Some(Offset(0)));
    assert_eq!(consume(&tier, &host.id, Offset(0)).await, host.log_records(&[]));
    assert_eq!(consume(&tier, &host.id, Offset(8)).await.first().map(|record| record.offset), Some(8));
}

#[tokio::test]
async fn archiving_goes_on_where_it_ended() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    for _ in 0..3 {
        host.produce(4);
        tier.run_once(&*host, 0).await;
    }
    assert_eq!(faulty.names("data").await.len(), 3);
    assert_eq!(consume(&tier, &host.id, Offset(0)).await, host.log_records(&[]));
    assert_eq!(tier.run_once(&*host, 0).await.objects, 0, "there is nothing new");
}

#[tokio::test]
async fn a_restart_knows_the_archive_from_the_index_topic() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    host.produce(4);
    tier(&faulty).run_once(&*host, 0).await;
    host.produce(3);
    tier(&faulty).run_once(&*host, 0).await;
    let restarted = tier(&faulty);
    restarted.load(&*host).await.expect("the index loads");
    assert_eq!(restarted.archived_until(&host.id), Some(Offset(7)));
    assert_eq!(consume(&restarted, &host.id, Offset(0)).await, host.log_records(&[]));
}

#[tokio::test]
async fn young_records_wait_for_their_age() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.set_lag_ms(1_000);
    host.produce(3);
    let report = tier.run_once(&*host, 50).await;
    assert_eq!((report.objects, report.next_due), (0, Some(1_050)));
    host.produce(2);
    assert_eq!(tier.run_once(&*host, 1_049).await.objects, 0);
    assert_eq!(tier.run_once(&*host, 1_050).await.objects, 1);
    assert_eq!(tier.archived_until(&host.id), Some(Offset(5)), "younger ones come along");
}

#[tokio::test]
async fn a_large_backlog_does_not_wait_and_becomes_several_objects() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let mut options = options();
    options.object_bytes_max = 2_000;
    options.read_bytes_max = 1;
    let tier = Tier::new(store(&faulty), options);
    host.set_lag_ms(1_000_000);
    for _ in 0..10 {
        host.produce(5);
    }
    let report = tier.run_once(&*host, 0).await;
    assert!(report.objects >= 3, "{report:?}");
    let until = tier.archived_until(&host.id).expect("an archive");
    assert!(until < Offset(50), "what is left is too little");
    let mut expected = host.log_records(&[]);
    expected.retain(|record| record.offset < until.0);
    assert_eq!(consume(&tier, &host.id, Offset(0)).await, expected);
}

#[tokio::test]
async fn only_committed_records_are_archived_and_a_consumer_passes_the_gaps() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(2);
    host.produce_in_transaction(7, 3);
    host.end_transaction(7, true);
    host.produce_in_transaction(8, 4);
    host.end_transaction(8, false);
    tier.run_once(&*host, 0).await;
    assert_eq!(tier.archived_until(&host.id), Some(Offset(11)));
    let aborted: Vec<i64> = (6..10).collect();
    assert_eq!(consume(&tier, &host.id, Offset(0)).await, host.log_records(&aborted));
    assert!(consume(&tier, &host.id, Offset(7)).await.is_empty(), "only the aborted ones are left");
}

#[tokio::test]
async fn an_open_transaction_holds_the_archive_back() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(2);
    host.produce_in_transaction(7, 3);
    host.log.set_high_watermark(Offset(2));
    tier.run_once(&*host, 0).await;
    assert_eq!(tier.archived_until(&host.id), Some(Offset(2)));
}

#[tokio::test]
async fn a_deposed_leader_gives_its_upload_up() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(2);
    host.deposed.store(true, Ordering::Relaxed);
    tier.run_once(&*host, 0).await;
    assert_eq!(tier.archived_until(&host.id), None);
    assert!(faulty.names("").await.is_empty());
}

#[tokio::test]
async fn the_bucket_alone_tells_what_is_archived() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(4);
    tier.run_once(&*host, 0).await;
    host.produce(4);
    tier.run_once(&*host, 0).await;
    let index = read_manifest(&store(&faulty)).await.expect("the manifest");
    let [(topic, topic_id)] = &index.topics()[..] else { panic!("one topic") };
    assert_eq!((topic.as_str(), *topic_id), ("orders", host.id.topic_id));
    let partition = index.partitions_of(*topic_id)[0];
    assert_eq!(index.entries(partition), tier.index().entries(partition));
}

#[tokio::test]
async fn a_running_tier_archives_until_it_is_shut_down() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let mut options = options();
    options.pass_interval_ms = 1;
    let tier = Tier::new(store(&faulty), options);
    let task = tier.start(host.clone());
    for until in [3, 6] {
        host.produce(3);
        while tier.archived_until(&host.id) != Some(Offset(until)) {
            tokio::task::yield_now().await;
        }
    }
    task.shutdown().await;
    host.produce(3);
    tokio::task::yield_now().await;
    assert_eq!(tier.archived_until(&host.id), Some(Offset(6)));
}
