use strata_log::{RemoteError, RemoteLog};
use strata_protocol::records::batches;
use strata_types::Offset;

use crate::faulty::{Fault, Faulty, Op};
use crate::host::{EPOCH, TestHost, records, tier};

#[tokio::test]
async fn a_fetch_has_whole_batches_within_its_limit_and_at_least_one() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    for _ in 0..3 {
        host.produce(3);
    }
    tier.run_once(&*host, 0).await;
    let one = tier.fetch(&host.id, Offset(4), 1).await.expect("it is archived");
    assert_eq!(records(one.batches.clone()).iter().map(|r| r.offset).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(one.next_offset, Offset(6));
    let two = tier.fetch(&host.id, Offset(0), one.batches.len() * 2).await.expect("it is archived");
    assert_eq!(batches(two.batches).count(), 2);
    let all = tier.fetch(&host.id, Offset(0), usize::MAX).await.expect("it is archived");
    assert_eq!((batches(all.batches).count(), all.next_offset), (3, Offset(9)));
}

#[tokio::test]
async fn only_the_row_groups_that_are_needed_are_fetched_and_once() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    for _ in 0..10 {
        host.produce(10);
    }
    tier.run_once(&*host, 0).await;
    let partition = tier.index().partitions_of(host.id.topic_id)[0];
    let entry = &tier.index().entries(partition)[0];
    assert_eq!(entry.range.row_groups.len(), 10);
    let (gets, bytes) = faulty.reads();
    tier.fetch(&host.id, Offset(95), usize::MAX).await.expect("it is archived");
    let (after, bytes_after) = faulty.reads();
    let last_group = entry.range.row_groups[9].bytes;
    assert_eq!((after - gets, (bytes_after - bytes) as u64), (2, entry.footer_bytes + last_group));
    tier.fetch(&host.id, Offset(90), usize::MAX).await.expect("it is cached");
    assert_eq!(faulty.reads().0, after);
}

#[tokio::test]
async fn what_is_not_archived_is_not_found() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(3);
    assert!(
        matches!(tier.fetch(&host.id, Offset(0), 1).await, Err(RemoteError::Unavailable(_))),
        "not loaded"
    );
    tier.load(&*host).await.expect("an empty index");
    assert!(matches!(tier.fetch(&host.id, Offset(0), 1).await, Err(RemoteError::NotFound)));
    tier.run_once(&*host, 0).await;
    assert!(matches!(tier.fetch(&host.id, Offset(3), 1).await, Err(RemoteError::NotFound)));
}

#[tokio::test]
async fn a_store_that_is_down_is_not_a_lost_record() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(3);
    tier.run_once(&*host, 0).await;
    faulty.order(Op::Get, Fault::Fails);
    assert!(matches!(tier.fetch(&host.id, Offset(0), 1).await, Err(RemoteError::Unavailable(_))));
    assert!(tier.fetch(&host.id, Offset(0), 1).await.is_ok(), "the failure is not remembered");
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_that_names_the_object() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(3);
    tier.run_once(&*host, 0).await;
    let object = faulty.names("data").await.remove(0);
    faulty.flip(&object, 60).await;
    let Err(RemoteError::Corrupt(why)) = tier.fetch(&host.id, Offset(0), 1).await else { panic!("corrupt") };
    assert!(why.contains(&object), "{why}");
}

#[tokio::test]
async fn an_object_that_vanished_is_corruption_not_an_offset_out_of_range() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    host.produce(3);
    tier.run_once(&*host, 0).await;
    let object = faulty.names("data").await.remove(0);
    faulty.vanish(&object).await;
    assert!(matches!(tier.fetch(&host.id, Offset(0), 1).await, Err(RemoteError::Corrupt(_))));
}

#[tokio::test]
async fn the_first_record_at_or_after_a_time_is_found() {
    let (faulty, host) = (Faulty::new(), TestHost::new());
    let tier = tier(&faulty);
    for _ in 0..2 {
        host.produce(12);
        host.produce(3);
        tier.run_once(&*host, 0).await;
    }
    for (timestamp, from, expected) in [
        (0, 0, Some((0, 0))),
        (31, 0, Some((40, 4))),
        (125, 0, Some((130, 13))),
        (150, 0, Some((150, 15))),
        (0, 17, Some((170, 17))),
        (291, 0, None),
    ] {
        let found =
            tier.offset_for_timestamp(&host.id, timestamp, Offset(from)).await.expect("it is archived");
        let found = found.inspect(|found| assert_eq!(found.leader_epoch, EPOCH));
        assert_eq!(found.map(|found| (found.timestamp, found.offset.0)), expected, "{timestamp} from {from}");
    }
    let max = tier.max_timestamp(&host.id).await.expect("from memory").expect("there are records");
    assert_eq!((max.timestamp, max.offset), (290, Offset(29)));
}
