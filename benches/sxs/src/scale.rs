//! What grows with partitions, connections and data: how long they take, and what they cost while nothing happens.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::load;
use crate::report::Report;
use crate::server::{Kind, Server};
use crate::{page, say};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Partitions to create and hold.
    #[arg(long, default_value_t = 100_000)]
    partitions: usize,
    /// Connections to open and hold.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// MB in 2,000 partitions before SIGKILL; several, to see what grows with them.
    #[arg(long, default_value = "1000,6000", value_delimiter = ',')]
    megabytes: Vec<usize>,
    /// Only this part.
    #[arg(long)]
    only: Option<Part>,
    /// The page whose section "Scale" is replaced.
    #[arg(long, default_value = "benches/RESULTS.md")]
    report: PathBuf,
    /// The repository's top folder: the start scripts are below it.
    #[arg(long, default_value = ".")]
    repository: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Partitions,
    Connections,
    Recovery,
}

const ABOUT: &str = "Strata alone, one node with its defaults. By `strata-sxs scale`.";
const GOALS: &[(&str, &str)] = &[
    ("partitions: all created", "≤ 10"),
    ("partitions: memory (RSS) held", "≤ 1,074 (1 GiB)"),
    ("partitions: open descriptors", "bounded"),
    ("connections: memory each", "≤ 8"),
    ("connections: CPU each", "≤ 0.1"),
    ("recovery of 1000 MB: start to first fetch", "≤ 1"),
    ("recovery of 6000 MB: start to first fetch", "≤ 1, as of 1000 MB"),
];
const PARTITIONS_PER_TOPIC: usize = 1_000;
/// What Apache Kafka's controller takes at once; so does ours.
const PARTITIONS_PER_REQUEST: usize = 10_000;
const RECOVERY_TOPICS: usize = 20;
const RECOVERY_PARTITIONS_PER_TOPIC: usize = 100;

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut report = Report::default();
    let wants = |part| arguments.only.is_none_or(|only| only == part);
    if wants(Part::Partitions) {
        partitions(arguments, &mut report)?;
    }
    if wants(Part::Connections) {
        connections(arguments, &mut report)?;
    }
    for &megabytes in arguments.megabytes.iter().filter(|_| wants(Part::Recovery)) {
        recovery(arguments, megabytes, &mut report)?;
    }
    let run = format!(
        "This run: {} partitions, {} connections, {:?} MB before the crash.",
        arguments.partitions, arguments.connections, arguments.megabytes
    );
    page::replace_section(&arguments.report, "Scale", &format!("{ABOUT}\n{run}\n\n{}", report.goals(GOALS)))
}

fn start(
    arguments: &Arguments,
    folder: &Path,
    knock: impl FnOnce(&str) -> anyhow::Result<Instant> + Send + 'static,
) -> anyhow::Result<Server> {
    // Files, sockets: what a broker's service file would allow, here for server and driver alike.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: limit.maximum, ..limit },
    )?;
    Server::start(Kind::Strata, &arguments.repository, folder, &[], knock)
}

fn partitions(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    say(&format!("{} partitions", arguments.partitions));
    let folder = tempfile::tempdir()?;
    let server = start(arguments, folder.path(), load::first_record)?;
    let topics: Vec<String> = (0..arguments.partitions.div_ceil(PARTITIONS_PER_TOPIC))
        .map(|topic| format!("many-{topic}"))
        .collect();
    let before = server.usage()?;
    let began = Instant::now();
    for topics in topics.chunks(PARTITIONS_PER_REQUEST / PARTITIONS_PER_TOPIC) {
        load::create_topics(server.bootstrap(), topics, PARTITIONS_PER_TOPIC as i32)?;
    }
    report.add(Kind::Strata, "partitions: all created", "s", began.elapsed().as_secs_f64());
    let last = topics.last().context("no topics")?;
    load::first_fetch(server.bootstrap(), last, Some(b"a record"))?;
    let after = server.usage()?;
    report.add(Kind::Strata, "partitions: CPU to create", "s", after.cpu_seconds - before.cpu_seconds);
    report.add(Kind::Strata, "partitions: memory (RSS) held", "MB", after.rss_mb);
    report.add(Kind::Strata, "partitions: open descriptors", "", server.descriptors()? as f64);
    server.kill()?;
    let again = || {
        let topic = last.clone();
        start(arguments, folder.path(), move |bootstrap| load::first_fetch(bootstrap, &topic, None))
    };
    let server = again()?;
    let took = server.answered_after().as_secs_f64();
    report.add(Kind::Strata, "partitions: start to first fetch after SIGKILL", "s", took);
    let began = Instant::now();
    server.stop()?;
    report.add(Kind::Strata, "partitions: stop in order", "s", began.elapsed().as_secs_f64());
    let server = again()?;
    let took = server.answered_after().as_secs_f64();
    report.add(Kind::Strata, "partitions: start to first fetch after it", "s", took);
    server.kill()
}

fn connections(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    say(&format!("{} connections", arguments.connections));
    let folder = tempfile::tempdir()?;
    let server = start(arguments, folder.path(), load::first_record)?;
    let before = server.usage()?;
    let mut held = Vec::new();
    for _ in 0..arguments.connections {
        let mut connection = TcpStream::connect(server.bootstrap())?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        ask_api_versions(&mut connection)?;
        held.push(connection);
    }
    let after = server.usage()?;
    let count = arguments.connections as f64;
    report.add(Kind::Strata, "connections: memory each", "KB", (after.rss_mb - before.rss_mb) * 1e3 / count);
    let cpu = (after.cpu_seconds - before.cpu_seconds) * 1e3 / count;
    report.add(Kind::Strata, "connections: CPU each", "ms", cpu);
    drop(held);
    server.stop()
}

/// ApiVersions v0 and its answer, which a client exchanges first of all.
fn ask_api_versions(connection: &mut TcpStream) -> anyhow::Result<()> {
    // Length, key 18, version 0, correlation id, no client id.
    connection.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length).min(1 << 16) as usize];
    Ok(connection.read_exact(&mut answer)?)
}

fn recovery(arguments: &Arguments, megabytes: usize, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(arguments, folder.path(), load::first_record)?;
    let topics: Vec<String> = (0..RECOVERY_TOPICS).map(|topic| format!("much-{topic}")).collect();
    load::create_topics(server.bootstrap(), &topics, RECOVERY_PARTITIONS_PER_TOPIC as i32)?;
    say(&format!("{megabytes} MB in {RECOVERY_TOPICS} topics, SIGKILL, start"));
    load::fill(server.bootstrap(), &topics, megabytes)?;
    server.kill()?;
    let topic = topics[0].clone();
    let server =
        start(arguments, folder.path(), move |bootstrap| load::first_fetch(bootstrap, &topic, None))?;
    let took = server.answered_after().as_secs_f64();
    report.add(Kind::Strata, &format!("recovery of {megabytes} MB: start to first fetch"), "s", took);
    let cpu = server.usage()?.cpu_seconds;
    report.add(Kind::Strata, &format!("recovery of {megabytes} MB: CPU until then"), "s", cpu);
    server.stop()
}
