//! What members of share groups read: records that only the archive has, committed records alone, and what is counted of it.

use crate::archive::{RECORDS, archived};
use crate::metrics::{METRICS, get, value};
use crate::share::{ACCEPT, Member, REJECT, acquired, initialize, topic};
use crate::share_groups::set;
use crate::support::{Broker, batch};
use crate::transactions;

#[tokio::test]
async fn records_that_only_the_archive_has_are_delivered_and_then_those_of_the_log() {
    let (broker, _archive, mut connection) = archived(&[]).await;
    let topic_id = connection.topic_id("t").await;
    initialize(&mut connection, topic_id).await;
    let mut member = Member::new(&broker, topic_id).await;
    let (mut next, mut said) = (0, Vec::new());
    while next < RECORDS {
        let got = acquired(&member.fetch(0, &said).await);
        let &[(first, last, 1)] = got.as_slice() else { panic!("{got:?} where {next} is next") };
        assert_eq!(first, next);
        (next, said) = (last + 1, vec![(first, last, ACCEPT)]);
    }
    assert_eq!(acquired(&member.fetch(0, &said).await), [], "all of it is accepted");
}

#[tokio::test]
async fn a_group_of_committed_records_gets_no_others() {
    let broker = Broker::start().await;
    let (mut connection, mut producer) = transactions::start(&broker).await;
    let topic_id = connection.topic_id("t").await;
    initialize(&mut connection, topic_id).await;
    set(&mut connection, "share.isolation.level", "read_committed").await;
    for (value, commit) in [("a", true), ("b", false), ("c", true)] {
        assert_eq!(producer.send(&mut connection, 12, value).await, 0);
        assert_eq!(producer.end(&mut connection, 5, commit).await, 0);
    }
    assert_eq!(transactions::committed(&mut connection).await, ["a", "c"]);
    assert_eq!(producer.send(&mut connection, 12, "open").await, 0);
    let mut member = Member::new(&broker, topic_id).await;
    let (mut got, mut said) = (Vec::new(), Vec::new());
    loop {
        let acquired = acquired(&member.fetch(0, &said).await);
        if acquired.is_empty() {
            break;
        }
        said = acquired.iter().map(|&(first, last, _)| (first, last, ACCEPT)).collect();
        got.extend(acquired.iter().flat_map(|&(first, last, _)| first..=last));
    }
    // 2 was aborted, and 6 is not decided. At 1, 3 and 5 are markers, which clients know to be gaps.
    assert_eq!(got, [0, 1, 3, 4, 5]);
}

#[tokio::test]
async fn what_members_get_and_say_is_counted() {
    let broker = Broker::with(&[METRICS]).await;
    let (topic_id, mut connection) = topic(&broker, &[]).await;
    connection.produce("t", 0, batch(&["a", "b", "c", "d"])).await;
    let mut member = Member::new(&broker, topic_id).await;
    assert_eq!(acquired(&member.fetch(0, &[]).await), [(0, 3, 1)]);
    assert_eq!(member.acknowledge(1, 2, ACCEPT).await, 0);
    assert_eq!(member.acknowledge(3, 3, REJECT).await, 0);
    let (_, metrics) = get(&broker, "/metrics").await;
    for (series, expected) in [
        ("sharegroupmetrics_recordacknowledgements_total{acktype=\"Accept\"}", 2.0),
        ("sharegroupmetrics_recordacknowledgements_total{acktype=\"Reject\"}", 1.0),
        ("sharegroupmetrics_recordacknowledgements_total{acktype=\"Release\"}", 0.0),
        ("sharepartitionmetrics_inflightmessagecount{group=\"g\",topic=\"t\",partition=\"0\"}", 4.0),
    ] {
        assert_eq!(value(&metrics, &format!("kafka_server_{series}")), Some(expected), "{metrics}");
    }
    let bytes = value(&metrics, "kafka_server_brokertopicmetrics_bytesout_total{topic=\"t\"}");
    assert!(bytes.is_some_and(|bytes| bytes > 60.0), "{bytes:?}");
}
