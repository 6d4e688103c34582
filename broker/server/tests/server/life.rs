//! Start, stop, and start again.

use std::time::{Duration, Instant};

use strata_protocol::messages::{FetchRequest, MetadataRequest};

use crate::support::{Broker, Connection, PATIENCE, batch, fetch, start_in, values};

#[tokio::test]
async fn an_empty_directory_is_ready_at_once() {
    let started = Instant::now();
    let broker = Broker::start().await;
    broker.connect().await.topic_names().await;
    // Alone it takes some 20 ms; beside the other tests, the machine's load is in it too.
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    let id = connection.create_topic("t", 2, &[]).await;
    connection.produce("t", 0, batch(&["a", "b"])).await;
    let cluster = broker.server.cluster_id().to_owned();
    let broker = broker.restart().await;
    assert_eq!(broker.server.cluster_id(), cluster);
    let mut connection = broker.connect().await;
    let mut by_id = fetch("", 0, 0, 0);
    by_id.topics[0].topic_id = id;
    let response = connection.call(13, &by_id).await;
    assert_eq!(values(&response.responses[0].partitions[0]).len(), 2);
    assert_eq!(connection.produce("t", 0, batch(&["c"])).await.base_offset, 2);
}

#[tokio::test]
async fn a_second_broker_on_the_same_directory_is_refused() {
    let broker = Broker::start().await;
    let error = start_in(broker.dir.path(), &[]).await.err().unwrap().to_string();
    assert!(error.contains(&broker.dir.path().display().to_string()) && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn a_directory_of_another_node_or_cluster_is_refused() {
    let broker = Broker::start().await;
    broker.server.shutdown().await;
    for (setting, words) in [("node.id=2", "node"), ("cluster.id=another", "cluster")] {
        let error = start_in(broker.dir.path(), &[setting]).await.err().unwrap().to_string();
        assert!(error.contains(words) && !error.contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let broker = Broker::start().await;
    let listeners = format!("listeners=PLAINTEXT://{}", broker.server.local_addr());
    let dir = tempfile::tempdir().unwrap();
    let error = start_in(dir.path(), &[&listeners]).await.err().unwrap().to_string();
    assert!(error.contains("cannot listen on PLAINTEXT://127.0.0.1"), "{error}");
}

#[tokio::test]
async fn shutting_down_answers_what_is_in_flight_and_then_closes() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.create_topic("t", 1, &[]).await;
    connection.send(12, &fetch("t", 0, 0, 60_000)).await;
    // Give it a moment to be read: a request that nobody has read yet is not in flight.
    tokio::time::timeout(Duration::from_millis(100), connection.stream.peek(&mut [0])).await.unwrap_err();
    let started = Instant::now();
    let stop = broker.server.shutdown();
    let receive = async {
        let response = connection.receive::<FetchRequest>(12).await;
        assert_eq!(response.error_code, 0);
        assert!(connection.is_closed().await);
    };
    tokio::join!(stop, receive);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn old_segments_go_by_themselves() {
    let broker = Broker::with(&["log.retention.check.interval.ms=20"]).await;
    let mut connection = broker.connect().await;
    // The records are of 2023: by time, all of them would go.
    let configs = [("internal.segment.bytes", "1024"), ("retention.bytes", "1500"), ("retention.ms", "-1")];
    connection.create_topic("t", 1, &configs).await;
    for _ in 0..10 {
        connection.produce("t", 0, batch(&[&"x".repeat(400)])).await;
    }
    let gone = async {
        while connection.fetch("t", 0, 9).await.log_start_offset == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("no segment goes");
    let data = connection.fetch("t", 0, 9).await;
    assert!((1..=9).contains(&data.log_start_offset) && values(&data).len() == 1, "{data:?}");
    assert_ne!(connection.fetch("t", 0, 0).await.error_code, 0);
}

#[tokio::test]
async fn a_server_that_is_dropped_serves_no_more() {
    let broker = Broker::start().await;
    let mut connection = broker.connect().await;
    connection.topic_names().await;
    drop(broker.server);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn with_the_systems_durability_records_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["strata.durability=os"];
    let server = start_in(dir.path(), &settings).await.unwrap();
    let mut connection = Connection::open(server.local_addr()).await;
    connection.create_topic("t", 1, &[]).await;
    assert_eq!(connection.produce("t", 0, batch(&["a"])).await.error_code, 0);
    assert_eq!(values(&connection.fetch("t", 0, 0).await).len(), 1);
    server.shutdown().await;
    let server = start_in(dir.path(), &settings).await.unwrap();
    let mut connection = Connection::open(server.local_addr()).await;
    assert_eq!(values(&connection.fetch("t", 0, 0).await).len(), 1);
}

#[tokio::test]
async fn several_listeners_each_tell_their_own_address() {
    let listeners = "listeners=PLAINTEXT://127.0.0.1:0,OTHER://127.0.0.1:0,CONTROLLER://127.0.0.1:0";
    let map = "listener.security.protocol.map=OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT";
    let advertised = "advertised.listeners=PLAINTEXT://127.0.0.1:0,OTHER://other.example:7000";
    let broker = Broker::with(&[listeners, map, advertised]).await;
    assert!(broker.server.bootstrap().ends_with(",other.example:7000"), "{}", broker.server.bootstrap());
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    let response = broker.connect().await.call(12, &request).await;
    assert_eq!(response.brokers[0].port, i32::from(broker.server.local_addr().port()));
}
