use std::sync::Arc;

use strata_query::QueryError;

use crate::cluster::{Memory, TOPIC, engine, numbers, query};

fn all() -> String {
    format!("SELECT * FROM \"{TOPIC}\" ORDER BY _partition, _offset")
}

/// Two partitions, of which the first is archived in two objects and the second in one; both went on since.
async fn cluster() -> Arc<Memory> {
    let memory = Memory::new();
    for partition in [0, 1] {
        memory.produce(partition, 12);
        memory.produce_aborted(partition, 9, 3);
        memory.produce(partition, 4);
        memory.archive(partition).await;
    }
    memory.produce(0, 5);
    memory.archive(0).await;
    for partition in [0, 1] {
        memory.produce(partition, 3);
        memory.produce_aborted(partition, 9, 2);
        memory.produce(partition, 2);
    }
    memory
}

#[tokio::test]
async fn hot_and_cold_together_are_the_log() {
    let memory = cluster().await;
    let from_log = query(&engine(&memory, true, false).expect("a source"), &all()).await.expect("rows");
    let from_both = query(&engine(&memory, true, true).expect("sources"), &all()).await.expect("rows");
    assert_eq!(from_log.num_rows(), 12 + 4 + 5 + 3 + 2 + 12 + 4 + 3 + 2);
    assert_eq!(from_both, from_log);
}

#[tokio::test]
async fn the_archive_alone_has_what_is_archived() {
    let memory = cluster().await;
    let both = engine(&memory, true, true).expect("sources");
    let alone = engine(&memory, false, true).expect("a source");
    let archived = format!(
        "SELECT * FROM \"{TOPIC}\" WHERE _partition = 0 AND _offset < 25 OR _partition = 1 AND _offset < 20
         ORDER BY _partition, _offset"
    );
    let expected = query(&both, &archived).await.expect("rows");
    assert_eq!(expected.num_rows(), 12 + 4 + 5 + 12 + 4);
    assert_eq!(query(&alone, &all()).await.expect("rows"), expected);
}

#[tokio::test]
async fn only_what_is_not_archived_is_fetched() {
    let memory = cluster().await;
    let engine = engine(&memory, true, true).expect("sources");
    query(&engine, &all()).await.expect("rows");
    let first: Vec<_> = memory.fetches().into_iter().filter(|(partition, _)| *partition == 1).collect();
    assert_eq!(first, [(1, 20), (1, 25)]);
    assert!(memory.fetches().contains(&(0, 25)), "{:?}", memory.fetches());
}

#[tokio::test]
async fn filters_on_address_spare_fetches() {
    let memory = cluster().await;
    let engine = engine(&memory, true, true).expect("sources");
    let cold = format!("SELECT _offset FROM \"{TOPIC}\" WHERE _partition = 0 AND _offset < 25");
    assert_eq!(numbers(&engine, &cold).await.len(), 21);
    assert_eq!(memory.fetches(), []);
    let hot = format!("SELECT _offset FROM \"{TOPIC}\" WHERE _partition = 1 AND _offset >= 27");
    assert_eq!(numbers(&engine, &hot).await, [27]);
    assert_eq!(memory.fetches(), [(1, 27)]);
}

#[tokio::test]
async fn deleted_records_are_gone_from_the_archive_too() {
    let memory = cluster().await;
    memory.set_start(0, 5);
    let engine = engine(&memory, true, true).expect("sources");
    let sql = format!("SELECT min(_offset) FROM \"{TOPIC}\" WHERE _partition = 0");
    assert_eq!(numbers(&engine, &sql).await, [5]);
    let count = format!("SELECT count(*) FROM \"{TOPIC}\" WHERE _partition = 0");
    assert_eq!(numbers(&engine, &count).await, [26 - 5]);
}

#[tokio::test]
async fn a_topic_that_is_named_twice_is_one_snapshot() {
    let memory = cluster().await;
    let engine = engine(&memory, true, true).expect("sources");
    let sql = format!("SELECT count(*) FROM \"{TOPIC}\" a JOIN \"{TOPIC}\" b USING (_partition, _offset)");
    assert_eq!(numbers(&engine, &sql).await, [47]);
    assert_eq!(memory.snapshots(), 1);
}

#[tokio::test]
async fn an_object_that_is_gone_is_an_error() {
    let memory = cluster().await;
    let gone = memory.store().path("data/1-0.parquet");
    object_store::ObjectStoreExt::delete(&**memory.store().object_store(), &gone).await.expect("deleted");
    let error = query(&engine(&memory, true, true).expect("sources"), &all()).await.expect_err("it is gone");
    assert!(error.to_string().contains("data/1-0.parquet"), "{error}");
}

#[tokio::test]
async fn a_source_is_needed() {
    assert!(matches!(engine(&Memory::new(), false, false), Err(QueryError::NoSource)));
}
