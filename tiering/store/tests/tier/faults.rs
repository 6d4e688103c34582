use std::sync::atomic::Ordering;

use strata_log::RemoteLog;
use strata_store::Tier;
use strata_types::Offset;

use crate::faulty::{Fault, Faulty, Op};
use crate::host::{TestHost, consume, tier};

/// Passes until everything is archived, each a day after the other, so that no pause is in the way.
async fn archive_all(tier: &Tier, host: &TestHost) {
    for pass in 0..10 {
        tier.run_once(host, pass * 86_400_000).await;
        if tier.archived_until(&host.id) == Some(host.log.end_offset()) {
            return;
        }
    }
    panic!("not archived after ten passes");
}

/// Every object in the bucket that no index entry names.
async fn orphans(faulty: &Faulty, tier: &Tier, host: &TestHost) -> Vec<String> {
    let topic = tier.index().partitions_of(host.id.topic_id);
    let known: Vec<String> = topic
        .iter()
        .flat_map(|partition| tier.index().entries(*partition))
        .map(|entry| entry.object.clone())
        .collect();
    faulty.names("data").await.into_iter().filter(|name| !known.contains(name)).collect()
}

#[tokio::test]
async fn every_step_may_fail_half_happen_or_be_done_twice() {
    for op in [Op::Put, Op::Head, Op::Create, Op::Get] {
        for fault in [Fault::Fails, Fault::LosesAnswer, Fault::HappensTwice] {
            let (faulty, host) = (Faulty::new(), TestHost::new());
            let tier = tier(&faulty);
            for count in [5, 8, 3] {
                host.produce(count);
                faulty.order(op, fault);
                archive_all(&tier, &host).await;
            }
            faulty.forget_orders();
            assert_eq!(consume(&tier, &host.id, Offset(0)).await, host.log_records(&[]), "{op:?} {fault:?}");
            let entries = tier.index().entries(tier.index().partitions_of(host.id.topic_id)[0]);
            let follows =
                entries.windows(2).all(|pair| pair[0].range.end_offset == pair[1].range.start_offset);
            assert!(follows, "{op:?} {fault:?}: ranges follow one another");
            tier.sweep(&*host, i64::MAX).await.expect("a sweep");
            assert_eq!(orphans(&faulty, &tier, &host).await, Vec::<String>::new(), "{op:?} {fault:?}");
            assert_eq!(consume(&tier, &host.id, Offset(0)).await, host.log_records(&[]), "{op:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_lost_index_append_is_made_up_without_a_second_object() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    host.produce(5);
    host.append_fails.store(true, Ordering::Relaxed);
    let report = tier(&faulty).run_once(&*host, 0).await;
    assert_eq!(report.failures.len(), 1);
    // Another process, that knows nothing of the attempt.
    let restarted = tier(&faulty);
    archive_all(&restarted, &host).await;
    assert_eq!(faulty.names("data").await.len(), 1);
    assert_eq!(consume(&restarted, &host.id, Offset(0)).await, host.log_records(&[]));
}

#[tokio::test]
async fn a_lost_index_is_made_again_from_the_manifest() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let first = tier(&faulty);
    for _ in 0..3 {
        host.produce(5);
        first.run_once(&*host, 0).await;
    }
    host.lose_index();
    host.produce(1);
    let restarted = tier(&faulty);
    archive_all(&restarted, &host).await;
    assert_eq!(faulty.names("data").await.len(), 4);
    assert_eq!(consume(&restarted, &host.id, Offset(0)).await, host.log_records(&[]));
}

#[tokio::test]
async fn of_two_leaders_that_archive_the_same_range_one_wins() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let (old, new) = (tier(&faulty), tier(&faulty));
    // Both have looked into the manifest, and see nothing.
    host.produce(3);
    old.run_once(&*host, 0).await;
    new.load(&*host).await.expect("the index loads");
    host.produce(3);
    // The new one archives [3, 6); the old one, that does not hear of it, [3, 10).
    let (a, b) = tokio::join!(new.run_once(&*host, 0), async {
        host.produce(4);
        old.run_once(&*host, 0).await
    });
    assert!(a.failures.is_empty() && b.failures.is_empty(), "{a:?} {b:?}");
    archive_all(&old, &host).await;
    new.load(&*host).await.expect("the index loads");
    for tier in [&old, &new] {
        assert_eq!(consume(tier, &host.id, Offset(0)).await, host.log_records(&[]));
        assert_eq!(orphans(&faulty, tier, &host).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_outage_loses_nothing_and_is_caught_up_with() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(5);
    archive_all(&tier, &host).await;
    faulty.set_down(true);
    host.produce(5);
    let report = tier.run_once(&*host, 0).await;
    assert_eq!((report.objects, report.failures.len()), (0, 1));
    assert!(report.failures[0].1.is_retriable(), "{:?}", report.failures);
    let paused = tier.run_once(&*host, 1).await;
    assert_eq!(
        (paused.failures.len(), paused.paused, paused.next_due),
        (0, 1, Some(1_000)),
        "no attempt yet"
    );
    host.produce(5);
    faulty.set_down(false);
    archive_all(&tier, &host).await;
    assert_eq!(consume(&tier, &host.id, Offset(0)).await, host.log_records(&[]));
}

#[tokio::test]
async fn orphans_are_swept_once_they_are_old() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(5);
    faulty.order(Op::Create, Fault::Fails);
    tier.run_once(&*host, 0).await;
    assert_eq!(faulty.names("data").await.len(), 1, "the upload is there, but not committed");
    archive_all(&tier, &host).await;
    assert_eq!(tier.sweep(&*host, 0).await.expect("a sweep"), 0, "too young: an upload on its way, perhaps");
    assert_eq!(faulty.names("data").await.len(), 2);
    assert_eq!(tier.sweep(&*host, i64::MAX).await.expect("a sweep"), 1);
    assert_eq!(orphans(&faulty, &tier, &host).await, Vec::<String>::new());
    assert_eq!(consume(&tier, &host.id, Offset(0)).await, host.log_records(&[]));
}
