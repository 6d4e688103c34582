use strata_plugin_host::{HttpGrant, SourceBatch, World};

use super::*;

async fn poll_all(
    plugin: &Plugin,
    config: &Config,
    positions: &[strata_plugin_host::SourcePosition],
) -> Vec<SourceBatch> {
    let grants = Grants { http: Some(HttpGrant::parse("").unwrap()) };
    let mut source = plugin.source(&grants, config, positions).await.expect("a source");
    let mut batches = Vec::new();
    loop {
        let polled = source.poll(100).await.expect("a poll");
        if polled.is_empty() {
            return batches;
        }
        batches.extend(polled);
    }
}

fn keys(batches: &[SourceBatch]) -> Vec<i64> {
    let records =
        batches.iter().flat_map(|batch| records(batch.records.clone(), 0, batch.base_timestamp, batch.count));
    records.map(|record| text(record.unwrap().key.as_ref()).parse().unwrap()).collect()
}

#[tokio::test]
async fn a_source_goes_on_from_its_position() {
    let plugin = load(GENERATOR, Limits::default()).await;
    assert_eq!(plugin.world(), World::SourceConnector);
    let config = config(&[("topic", "numbers"), ("records", "250")]);
    let all = poll_all(&plugin, &config, &[]).await;
    assert_eq!(keys(&all), (0..250).collect::<Vec<_>>());
    assert_eq!((all[0].topic.as_str(), all[0].count), ("numbers", 100));
    let again = poll_all(&plugin, &config, &[all[0].position.clone()]).await;
    assert_eq!(keys(&again), (100..250).collect::<Vec<_>>());
    assert_eq!(again[0].records, all[1].records);
}

#[tokio::test]
async fn tasks_share_a_sources_work() {
    let plugin = load(GENERATOR, Limits::default()).await;
    let whole = config(&[("topic", "numbers"), ("records", "10")]);
    let tasks = plugin.split(&Grants::default(), &whole, 3).await.unwrap();
    assert_eq!(tasks.len(), 3);
    let mut made = Vec::new();
    for task in &tasks {
        made.extend(keys(&poll_all(&plugin, task, &[]).await));
    }
    made.sort_unstable();
    assert_eq!(made, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_transform_changes_where_records_go() {
    let plugin = load(ROUTE, Limits::default()).await;
    assert_eq!(plugin.world(), World::Transform);
    let config = config(&[("topic.suffix", "-copy")]);
    let mut transform = plugin.transform(&Grants::default(), &config).await.expect("a transform");
    let (header, section) = batch(&[(Some("k"), Some("v")), (None, None)]);
    let transformed = transform.apply(&header, section.clone()).await.expect("an answer");
    let [copy] = transformed.as_slice() else { panic!("one batch is due: {transformed:?}") };
    assert_eq!((copy.topic.as_str(), copy.partition, copy.count), ("in-copy", None, 2));
    assert_eq!(copy.records, section);
}
