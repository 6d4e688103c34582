use super::*;

#[tokio::test]
async fn a_source_fills_a_topic_and_stores_where_it_is() {
    let cluster = Memory::new();
    let worker = worker(&cluster).await;
    let info = worker.create("numbers", generator("t", 1200), Default::default()).await.unwrap();
    assert_eq!((info.config["name"].as_str(), info.tasks.len()), ("numbers", 1));
    holds(&cluster, "t", 1200).await;
    holds(&cluster, "connect-offsets", 3).await;
    assert_eq!(values(&cluster, "t")[1199], "record 1199");
    let stored = cluster.records("connect-offsets").into_iter().flatten().last().unwrap();
    assert_eq!(stored.key.as_deref(), Some(&br#"["numbers",{"task":0,"tasks":1}]"#[..]));
    assert_eq!(stored.value.as_deref(), Some(&br#"{"next":1200}"#[..]));
    worker.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_starts_again_goes_on_where_the_last_one_stopped() {
    let cluster = Memory::new();
    let first = worker(&cluster).await;
    first.create("numbers", generator("t", 700), Default::default()).await.unwrap();
    holds(&cluster, "connect-offsets", 2).await;
    first.shutdown().await;
    let second = worker(&cluster).await;
    assert_eq!(second.connectors().await, ["numbers"]);
    second.put_config("numbers", generator("t", 1000)).await.unwrap();
    holds(&cluster, "t", 1000).await;
    let expected: Vec<_> = (0..1000).map(|number| format!("record {number}")).collect();
    assert_eq!(values(&cluster, "t"), expected);
    second.shutdown().await;
}

#[tokio::test]
async fn tasks_share_the_work() {
    let cluster = Memory::new();
    let worker = worker(&cluster).await;
    let mut config = generator("t", 100);
    config.insert("tasks.max".into(), "3".into());
    assert_eq!(worker.create("numbers", config, Default::default()).await.unwrap().tasks.len(), 3);
    holds(&cluster, "t", 100).await;
    let mut numbers: Vec<u32> =
        values(&cluster, "t").iter().map(|value| value["record ".len()..].parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    worker.shutdown().await;
}
