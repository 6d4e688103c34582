use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use strata_worker::{TargetState, Worker, WorkerConfig};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::broker::Broker;
use super::hot::create_topic;
use super::story::Story;
use super::streams::owned;
use crate::shipped;

const RECORDS: usize = 500;
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Posts that wait to be counted.
const POSTS_MAX: usize = 16;

/// A source makes records, a sink posts them to a server of our own, which counts them.
pub async fn generate_and_post(story: &mut Story, broker: &Broker, root: &Path) -> anyhow::Result<()> {
    story.step("Connect: a generator source, and a sink that may post to one host only")?;
    // The generator's records are stamped alike in every run, and so are older than what retention would keep.
    create_topic(&broker.client().await?, "numbers", 2, &[("retention.ms", "-1")]).await?;
    let worker = Worker::start(WorkerConfig {
        // Only these two: each plugin of a worker is compiled when it starts.
        shipped: ["generator", "http-sink"].into_iter().filter_map(shipped::find).collect(),
        cache_dir: Some(root.join("compiled")),
        ..WorkerConfig::new(broker.bootstrap())
    })
    .await?;
    let (address, mut posts) = listen().await?;
    let records = RECORDS.to_string();
    let source = [("connector.class", "generator"), ("topic", "numbers"), ("records", &records)];
    worker.create("demo-source", owned(&source), TargetState::Started).await?;
    let url = format!("http://{address}/in");
    let sink = [
        ("connector.class", "http-sink"),
        ("topics", "numbers"),
        ("http.url", &url),
        ("strata.http.allow", &address),
    ];
    worker.create("demo-sink", owned(&sink), TargetState::Started).await?;
    story.fact(&format!("the sink is granted {address}, and nothing else"))?;

    let mut received = 0;
    let all = async {
        while received < RECORDS {
            received += posts.recv().await.context("the server ended")??;
        }
        anyhow::Ok(())
    };
    if tokio::time::timeout(ANSWER_MAX, all).await.is_err() {
        let status = worker.status("demo-sink").await?;
        anyhow::bail!("the records do not come: {:?} {:?}", status.connector, status.tasks);
    }
    story.check("records posted", RECORDS, received)?;
    worker.shutdown().await;
    Ok(())
}

/// An HTTP server that takes posts and reports how many lines each had.
async fn listen() -> anyhow::Result<(String, mpsc::Receiver<anyhow::Result<usize>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (counted, posts) = mpsc::channel(POSTS_MAX);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                if let Err(error) = serve(stream, &counted).await {
                    // Nobody listens any more once everything has come.
                    let _ = counted.send(Err(error)).await;
                }
            });
        }
    });
    Ok((address, posts))
}

async fn serve(stream: TcpStream, counted: &mpsc::Sender<anyhow::Result<usize>>) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = Some(value.trim().parse::<u64>()?);
            }
        }
        let mut body = Vec::new();
        let length = length.context("a post without a content-length")?;
        (&mut stream).take(length).read_to_end(&mut body).await?;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        counted.send(Ok(body.iter().filter(|byte| **byte == b'\n').count())).await?;
    }
}
