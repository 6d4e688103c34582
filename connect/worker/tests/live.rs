//! The worker against a real cluster, of Apache Kafka or our own. Run it with
//! `STRATA_TEST_BOOTSTRAP=host:port cargo test -p strata-worker --test live -- --ignored`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use strata_client::{Client, ClientOptions, NewTopic, OffsetSpec};
use strata_types::{TopicName, TopicPartition};
use strata_worker::{Worker, WorkerConfig};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Hands on the keys that are posted to it.
async fn server() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, keys) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let sender = sender.clone();
            tokio::spawn(async move {
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    let length =
                        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                    let mut body = vec![0; length.unwrap()];
                    stream.read_exact(&mut body).await.unwrap();
                    for line in std::str::from_utf8(&body).unwrap().lines() {
                        let row: serde_json::Value = serde_json::from_str(line).unwrap();
                        sender.send(row["key"].as_str().unwrap().to_owned()).ok();
                    }
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                }
            });
        }
    });
    (address, keys)
}

fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn records_go_in_by_a_source_and_out_by_a_sink_over_a_restart() {
    let bootstrap = std::env::var("STRATA_TEST_BOOTSTRAP").expect("STRATA_TEST_BOOTSTRAP=host:port");
    let run = uuid::Uuid::new_v4();
    let mut config = WorkerConfig::new(&bootstrap);
    config.plugin_dirs = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/catalog").into()];
    config.cache_dir = Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins").into());
    config.instances_max = 8;
    config.config_topic = format!("configs-{run}");
    config.offset_topic = format!("offsets-{run}");
    config.status_topic = format!("status-{run}");
    config.offset_partitions = 3;

    let client = Client::connect(&bootstrap, ClientOptions::default()).await.expect("a cluster");
    let topic = TopicName::new(&format!("numbers-{run}")).unwrap();
    client.admin().create_topic(NewTopic::new(topic.clone(), 2)).await.expect("a topic");
    let (address, mut keys) = server().await;

    let source = format!("source-{run}");
    let generator = |records: &str| {
        properties(&[("connector.class", "generator"), ("topic", topic.as_str()), ("records", records)])
    };
    let sink = properties(&[
        ("connector.class", "http-sink"),
        ("topics", topic.as_str()),
        ("http.url", &format!("http://{address}/")),
        ("strata.http.allow", &address.to_string()),
    ]);
    let worker = Worker::start(config.clone()).await.expect("a worker");
    worker.create(&source, generator("1000"), Default::default()).await.unwrap();
    worker.create(&format!("sink-{run}"), sink, Default::default()).await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 1000 {
        seen.insert(keys.recv().await.unwrap());
    }
    worker.shutdown().await;

    let worker = Worker::start(config).await.expect("a worker again");
    worker.put_config(&source, generator("1500")).await.unwrap();
    while seen.len() < 1500 {
        seen.insert(keys.recv().await.unwrap());
    }
    worker.shutdown().await;
    let ends = [0, 1].map(|partition| (TopicPartition::new(topic.clone(), partition), OffsetSpec::Latest));
    let ends = client.list_offsets(&ends, false).await.unwrap();
    assert_eq!(
        ends.values().map(|end| end.offset.0).sum::<i64>(),
        1500,
        "a source's record was stored twice"
    );
}
