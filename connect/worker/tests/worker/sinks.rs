use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use strata_protocol::records::Header;
use strata_worker::cluster::{Cluster, NewRecord, TopicSpec};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

/// An HTTP server whose status can be changed; it hands on the bodies that it got, with the status that it answered.
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    bodies: mpsc::UnboundedReceiver<(u16, String)>,
}

impl Server {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, bodies) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(status));
        let answers = status.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(BufReader::new(stream), answers.clone(), sender.clone()));
            }
        });
        Server { address, status, bodies }
    }

    /// The offsets of the next batch that is answered with `status`.
    async fn offsets(&mut self, status: u16) -> Vec<i64> {
        loop {
            let (answered, body) = self.bodies.recv().await.expect("a request");
            if answered == status {
                let rows = body.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
                return rows.map(|row| row["offset"].as_i64().unwrap()).collect();
            }
        }
    }
}

async fn serve(
    mut stream: BufReader<TcpStream>,
    status: Arc<AtomicU16>,
    sender: mpsc::UnboundedSender<(u16, String)>,
) {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        let status = status.load(Ordering::SeqCst);
        sender.send((status, String::from_utf8(body).unwrap())).ok();
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn http_sink(address: SocketAddr, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut config = properties(&[
        ("connector.class", "http-sink"),
        ("topics", "t"),
        ("http.url", &format!("http://{address}/")),
        ("strata.http.allow", &address.to_string()),
        ("errors.retry.delay.max.ms", "100"),
    ]);
    config.extend(properties(more));
    config
}

pub(crate) async fn fill(cluster: &Memory, values: &[&str]) {
    let record = |value: &&str| NewRecord {
        key: Some("k".into()),
        value: Some(bytes::Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![Header { key: "h".into(), value: None }],
        ..NewRecord::default()
    };
    cluster.append("t", values.iter().map(record).collect()).await.unwrap();
}

async fn committed(cluster: &Memory, offset: i64) {
    loop {
        let mut changes = cluster.changes();
        let committed = cluster.committed("connect-sink").await.unwrap();
        if committed.iter().any(|(_, _, committed)| *committed >= offset) {
            return;
        }
        changes.changed().await.expect("a cluster");
    }
}

#[tokio::test]
async fn a_sink_delivers_and_commits() {
    let (cluster, mut server) = (Memory::new(), Server::start(200).await);
    let worker = worker(&cluster).await;
    fill(&cluster, &["a", "b", "c"]).await;
    worker.create("sink", http_sink(server.address, &[]), Default::default()).await.unwrap();
    assert_eq!(server.offsets(200).await, [0, 1, 2]);
    committed(&cluster, 3).await;
    assert_eq!(worker.sink_offsets("sink").await.unwrap(), [("t".to_owned(), 0, 3)]);
    worker.restart_task("sink", 0).await.unwrap();
    fill(&cluster, &["d"]).await;
    assert_eq!(server.offsets(200).await, [3]);
    worker.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_delivered_now_is_put_again_until_it_can() {
    let (cluster, mut server) = (Memory::new(), Server::start(503).await);
    let worker = worker(&cluster).await;
    fill(&cluster, &["a"]).await;
    worker.create("sink", http_sink(server.address, &[]), Default::default()).await.unwrap();
    assert_eq!(server.offsets(503).await, [0]);
    assert_eq!(server.offsets(503).await, [0]);
    server.status.store(200, Ordering::SeqCst);
    assert_eq!(server.offsets(200).await, [0]);
    committed(&cluster, 1).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn retries_end_when_their_time_is_over() {
    let (cluster, server) = (Memory::new(), Server::start(503).await);
    let worker = worker(&cluster).await;
    fill(&cluster, &["a"]).await;
    let config = http_sink(server.address, &[("errors.retry.timeout", "300")]);
    worker.create("sink", config, Default::default()).await.unwrap();
    let trace = task_is(&cluster, &worker, "sink", 0, State::Failed).await.unwrap();
    assert!(trace.contains("answered 503"), "{trace}");
    assert!(cluster.committed("connect-sink").await.unwrap().is_empty());
    worker.shutdown().await;
}

#[tokio::test]
async fn a_rejected_record_fails_the_task_unless_errors_are_tolerated() {
    let (cluster, server) = (Memory::new(), Server::start(200).await);
    let worker = worker(&cluster).await;
    fill(&cluster, &["{}", "not json", "[]"]).await;
    let config = http_sink(server.address, &[("http.value.format", "json")]);
    worker.create("sink", config, Default::default()).await.unwrap();
    let trace = task_is(&cluster, &worker, "sink", 0, State::Failed).await.unwrap();
    assert!(trace.contains("the value at offset 1 is not JSON"), "{trace}");
    worker.shutdown().await;
}

#[tokio::test]
async fn a_rejected_record_goes_to_the_dead_letter_queue_and_its_neighbours_are_delivered() {
    let (cluster, mut server) = (Memory::new(), Server::start(200).await);
    let worker = worker(&cluster).await;
    fill(&cluster, &["{}", "not json", "[]"]).await;
    let config = http_sink(
        server.address,
        &[
            ("http.value.format", "json"),
            ("errors.tolerance", "all"),
            ("errors.deadletterqueue.topic.name", "dead"),
            ("errors.deadletterqueue.context.headers.enable", "true"),
        ],
    );
    worker.create("sink", config, Default::default()).await.unwrap();
    assert_eq!(server.offsets(200).await, [0]);
    assert_eq!(server.offsets(200).await, [2]);
    committed(&cluster, 3).await;
    let letters: Vec<_> = cluster.records("dead").into_iter().flatten().collect();
    let [letter] = letters.as_slice() else { panic!("one letter is due: {letters:?}") };
    assert_eq!(letter.value.as_deref(), Some(&b"not json"[..]));
    let headers: BTreeMap<_, _> = letter
        .headers
        .iter()
        .map(|header| (&*header.key, header.value.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(headers["h"], b"");
    assert_eq!(
        (headers["__connect.errors.topic"], headers["__connect.errors.offset"]),
        (&b"t"[..], &b"1"[..])
    );
    worker.shutdown().await;
}

#[tokio::test]
async fn tasks_of_a_sink_share_the_partitions() {
    let (cluster, mut server) = (Memory::new(), Server::start(200).await);
    let spec = TopicSpec { name: "t".into(), partitions: 2, replication_factor: -1, compacted: false };
    cluster.ensure_topic(&spec).await.unwrap();
    let worker = worker(&cluster).await;
    let info =
        worker.create("sink", http_sink(server.address, &[("tasks.max", "2")]), Default::default()).await;
    assert_eq!(info.unwrap().tasks.len(), 2);
    for task in 0..2 {
        task_is(&cluster, &worker, "sink", task, State::Running).await;
    }
    for partition in [0, 1] {
        let record =
            NewRecord { partition: Some(partition), value: Some("v".into()), ..NewRecord::default() };
        cluster.append("t", vec![record]).await.unwrap();
        assert_eq!(server.offsets(200).await, [0]);
    }
    worker.shutdown().await;
}
