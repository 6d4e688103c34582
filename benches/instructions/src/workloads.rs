//! What is counted.

use anyhow::{Context, ensure};
use bytes::Bytes;
use strata_protocol::Encoded;
use strata_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
use strata_protocol::records::{BuilderOptions, Compression};
use strata_server::config::Config;
use strata_server::{Loopback, Server};
use uuid::Uuid;

use crate::client::{self, FETCH, PRODUCE};

/// Requests of a workload that are counted: enough for what happens every few kilobytes of log to even out.
const REQUESTS: usize = 200;
/// Requests before them, so that what is made once for a partition is there.
const WARM_UP: usize = 20;
const WAITS_FOR_ALL: i16 = -1;
const WAITS_FOR_LEADER: i16 = 1;

pub struct Workload {
    pub name: &'static str,
    /// What one request carries.
    messages: usize,
    kind: Kind,
}

enum Kind {
    /// Appends to a partition, one batch a request.
    Produce { value_bytes: usize, compression: Compression, idempotent: bool },
    /// Reads the same records, one batch a request.
    Fetch { value_bytes: usize },
    /// Asks so many partitions, none of which has anything new; each counts as a message.
    FetchNothing,
}

const fn produce(name: &'static str, messages: usize, value_bytes: usize) -> Workload {
    let kind = Kind::Produce { value_bytes, compression: Compression::None, idempotent: false };
    Workload { name, messages, kind }
}

/// Batches are of about 64 KiB where they are of many records.
pub const WORKLOADS: &[Workload] = &[
    produce("produce 1000 B, 64 a batch", 64, 1_000),
    produce("produce 100 B, 600 a batch", 600, 100),
    Workload {
        name: "produce 100 B, 600 a batch, lz4",
        messages: 600,
        kind: Kind::Produce { value_bytes: 100, compression: Compression::Lz4, idempotent: false },
    },
    Workload {
        name: "produce 100 B, one a batch, idempotent",
        messages: 1,
        kind: Kind::Produce { value_bytes: 100, compression: Compression::None, idempotent: true },
    },
    Workload { name: "fetch 1000 B, 64 a batch", messages: 64, kind: Kind::Fetch { value_bytes: 1_000 } },
    Workload { name: "fetch, a partition without news", messages: 100, kind: Kind::FetchNothing },
];

impl Workload {
    /// All that are counted.
    pub fn messages(&self) -> usize {
        REQUESTS * self.messages
    }
}

/// Runs a workload on a broker of its own. Nothing else runs on this thread while [`observed`] does.
pub fn run(workload: &Workload) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let settings =
        ["listeners=PLAINTEXT://127.0.0.1:0".to_owned(), format!("log.dirs={}", folder.path().display())];
    let none: [(&str, &str); 0] = [];
    let config = Config::load("", none, settings.iter().map(String::as_str))?;
    let server = runtime.block_on(Server::start(config, None))?;
    let broker = server.loopback().context("no listener without TLS and SASL")?;
    let (mut warm_up, mut counted) = runtime.block_on(prepared(&broker, workload))?;
    let entered = runtime.enter();
    let mut answers = Vec::with_capacity(REQUESTS);
    answers.extend(warm_up.drain(..).map(|frame| client::answer_now(&broker, frame)));
    answers.clear();
    observed(&broker, &mut counted, &mut answers);
    drop(entered);
    check(workload, &answers)?;
    runtime.block_on(server.shutdown());
    Ok(())
}

/// What callgrind counts, by this function's name.
#[inline(never)]
fn observed(broker: &Loopback, frames: &mut Vec<Bytes>, answers: &mut Vec<Option<Encoded>>) {
    answers.extend(frames.drain(..).map(|frame| client::answer_now(broker, frame)));
}

/// The frames to warm up with, and those to count.
async fn prepared(broker: &Loopback, workload: &Workload) -> anyhow::Result<(Vec<Bytes>, Vec<Bytes>)> {
    let name: String = workload.name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let name: &'static str = name.leak();
    let mut frames = match workload.kind {
        Kind::Produce { value_bytes, compression, idempotent } => {
            client::create_topic(broker, name, 1).await?;
            let mut options = client::options(compression);
            if idempotent {
                (options.producer_id, options.producer_epoch) = client::producer(broker).await?;
            }
            produce_frames(name, workload.messages, value_bytes, options)?
        }
        Kind::Fetch { value_bytes } => {
            let topic = client::create_topic(broker, name, 1).await?;
            fetch_frames(broker, (name, topic), workload.messages, value_bytes).await?
        }
        Kind::FetchNothing => {
            let topic = client::create_topic(broker, name, workload.messages as i32).await?;
            let request = client::fetch(topic, workload.messages as i32, 0, i32::MAX);
            vec![client::frame(FETCH, &request)?; WARM_UP + REQUESTS]
        }
    };
    let counted = frames.split_off(WARM_UP);
    Ok((frames, counted))
}

fn produce_frames(
    topic: &'static str,
    records: usize,
    value_bytes: usize,
    mut options: BuilderOptions,
) -> anyhow::Result<Vec<Bytes>> {
    let idempotent = options.producer_id.0 >= 0;
    let frame = |number: usize| {
        if idempotent {
            options.base_sequence = (number * records) as i32;
        }
        let batch = client::batch(records, value_bytes, options)?;
        client::frame(PRODUCE, &client::produce(topic, WAITS_FOR_LEADER, batch))
    };
    (0..WARM_UP + REQUESTS).map(frame).collect()
}

/// Writes a batch for each fetch; committed once the last of them is acknowledged.
async fn fetch_frames(
    broker: &Loopback,
    (name, topic): (&'static str, Uuid),
    records: usize,
    value_bytes: usize,
) -> anyhow::Result<Vec<Bytes>> {
    let batch = client::batch(records, value_bytes, client::options(Compression::None))?;
    let mut frames = Vec::with_capacity(WARM_UP + REQUESTS);
    for number in 0..WARM_UP + REQUESTS {
        let request = client::produce(name, WAITS_FOR_ALL, batch.clone());
        let response = client::call(broker, PRODUCE, &request).await?;
        check_produced(&response)?;
        let from = (number * records) as i64;
        frames.push(client::frame(FETCH, &client::fetch(topic, 1, from, batch.len() as i32))?);
    }
    Ok(frames)
}

/// Whether the workload did what it is named for; an error is answered with few instructions.
fn check(workload: &Workload, answers: &[Option<Encoded>]) -> anyhow::Result<()> {
    ensure!(answers.len() == REQUESTS, "{} answers", answers.len());
    for answer in answers {
        let answer = answer.as_ref().context("a request was not answered at once")?;
        match workload.kind {
            Kind::Produce { .. } => check_produced(&client::decode::<ProduceRequest>(PRODUCE, answer)?)?,
            Kind::Fetch { value_bytes } => {
                let least = workload.messages * value_bytes;
                let bytes = fetched(&client::decode::<FetchRequest>(FETCH, answer)?)?;
                ensure!((least..2 * least).contains(&bytes), "{bytes} bytes were fetched");
            }
            Kind::FetchNothing => {
                let bytes = fetched(&client::decode::<FetchRequest>(FETCH, answer)?)?;
                ensure!(bytes == 0, "{bytes} bytes were fetched where there was nothing");
            }
        }
    }
    Ok(())
}

fn check_produced(response: &ProduceResponse) -> anyhow::Result<()> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let mut codes = partitions.map(|partition| partition.error_code);
    ensure!(codes.next() == Some(0), "{response:?}");
    Ok(())
}

/// The bytes of records in an answer.
fn fetched(response: &FetchResponse) -> anyhow::Result<usize> {
    let partitions: Vec<_> = response.responses.iter().flat_map(|topic| &topic.partitions).collect();
    ensure!(response.error_code == 0 && !partitions.is_empty(), "{response:?}");
    ensure!(partitions.iter().all(|partition| partition.error_code == 0), "{response:?}");
    Ok(partitions
        .iter()
        .filter_map(|partition| partition.records.as_ref())
        .map(|records| records.len())
        .sum())
}
