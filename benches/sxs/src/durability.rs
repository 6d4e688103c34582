//! What waiting for the disk costs: throughput and acknowledgements with group commit, beside the disk's own flush; and
//! how soon a record comes to its consumer, beside Apache Kafka, where neither waits for the disk.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::load::{self, Acks, Workload};
use crate::paced::{self, Paced, Percentiles};
use crate::report::Report;
use crate::server::{Kind, Server};
use crate::{page, say};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Rounds; the median of each figure is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Bytes of values for each throughput, in MB.
    #[arg(long, default_value_t = 300)]
    megabytes: usize,
    /// How long each run at a rate lasts, in seconds.
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// The page whose section "Durability and latency" is replaced.
    #[arg(long, default_value = "benches/RESULTS.md")]
    report: PathBuf,
    /// The repository's top folder: the start scripts are below it.
    #[arg(long, default_value = ".")]
    repository: PathBuf,
}

const ABOUT: &str = "By `strata-sxs durability`. Records of 1,000 B. Throughput: acks=all, batches of 64 KiB, in turn with \
`strata.durability=os` and `disk`. Latency: `linger.ms=0`, from `send`
to the acknowledgement or to the consumer, at 30 % of the throughput that is named. The disk's own `fdatasync` appends 64 KiB to \
a file and flushes it, in the same folder, before and after the load.";
const VALUE_BYTES: usize = 1_000;
const LOAD: f64 = 0.3;
/// Enough for a 99th percentile that one odd flush does not make.
const OWN_FLUSHES: usize = 300;
const FLUSHED_BYTES: usize = 64 << 10;
const OS: &str = "strata.durability=os";

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut report = Report::default();
    for round in 0..arguments.rounds {
        say(&format!("round {} of {}: group commit", round + 1, arguments.rounds));
        group_commit(arguments, &mut report).context("group commit")?;
        say(&format!("round {} of {}: latency", round + 1, arguments.rounds));
        latency(arguments, round, &mut report).context("latency")?;
    }
    let run = format!(
        "This run: {} rounds, {} MB for a throughput, {} s for a latency.",
        arguments.rounds, arguments.megabytes, arguments.seconds
    );
    let body = format!("{ABOUT}\n{run}\n\n{}", report.ratios());
    page::replace_section(&arguments.report, "Durability and latency", &body)
}

/// Throughput without and with waiting for the disk; acknowledgements at a part of it, and the disk's own flush.
fn group_commit(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let strata = Kind::Strata;
    let (os, _) = throughput(arguments, strata, &[OS], Acks::All)?;
    let (disk, server) = throughput(arguments, strata, &[], Acks::All)?;
    report.add(strata, "acks=all, durability=os: throughput", "MB/s", os / 1e6);
    report.add(strata, "acks=all, durability=disk: throughput", "MB/s", disk / 1e6);
    report.add(strata, "acks=all, disk / os", "", disk / os);

    let mut own = flushes(server.folder.path())?;
    let paced = paced(arguments, Acks::All, disk * LOAD);
    let latencies = paced::run(server.server.bootstrap(), "sxs-paced", &paced)?;
    own.extend(flushes(server.folder.path())?);
    let own = Percentiles::of(own)?;
    report.add(strata, "the disk's own fdatasync: p50", "ms", own.p50_ms);
    report.add(strata, "the disk's own fdatasync: p99", "ms", own.p99_ms);
    report.add(strata, "acks=all, durability=disk, 30 % load: p50", "ms", latencies.acknowledged.p50_ms);
    report.add(strata, "acks=all, durability=disk, 30 % load: p99", "ms", latencies.acknowledged.p99_ms);
    let ratio = latencies.acknowledged.p99_ms / own.p99_ms;
    report.add(strata, "acks=all p99 / the disk's own p99", "", ratio);
    report.add(strata, "end to end, durability=disk, 30 % load: p99", "ms", latencies.consumed.p99_ms);
    server.server.stop()
}

/// End to end, both servers at the same rate: a part of what Apache Kafka takes in.
fn latency(arguments: &Arguments, round: usize, report: &mut Report) -> anyhow::Result<()> {
    let (kafka, server) = throughput(arguments, Kind::Kafka, &[], Acks::Leader)?;
    let paced = paced(arguments, Acks::Leader, kafka * LOAD);
    // Apache Kafka is warm by then, as it is to be; Strata goes first or last in turn.
    let strata = || -> anyhow::Result<_> {
        let (_, server) = throughput(arguments, Kind::Strata, &[OS], Acks::Leader)?;
        let latencies = paced::run(server.server.bootstrap(), "sxs-paced", &paced)?;
        server.server.stop()?;
        Ok(latencies)
    };
    let first = (round % 2 == 1).then(&strata).transpose()?;
    let of_kafka = paced::run(server.server.bootstrap(), "sxs-paced", &paced)?;
    server.server.stop()?;
    let of_strata = first.map_or_else(strata, Ok)?;
    for (kind, latencies) in [(Kind::Kafka, of_kafka), (Kind::Strata, of_strata)] {
        let name = "end to end, durability=os, 30 % of Kafka's throughput";
        report.add(kind, &format!("{name}: p50"), "ms", latencies.consumed.p50_ms);
        report.add(kind, &format!("{name}: p99"), "ms", latencies.consumed.p99_ms);
    }
    Ok(())
}

fn paced(arguments: &Arguments, acks: Acks, bytes_per_second: f64) -> Paced {
    let lasts = Duration::from_secs(arguments.seconds);
    Paced { acks, value_bytes: VALUE_BYTES, bytes_per_second, lasts }
}

/// A server with the folder that goes when it goes.
struct Running {
    server: Server,
    folder: tempfile::TempDir,
}

/// Starts a server and fills it as fast as it takes it; bytes a second, and the server.
fn throughput(
    arguments: &Arguments,
    kind: Kind,
    overrides: &[&str],
    acks: Acks,
) -> anyhow::Result<(f64, Running)> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(kind, &arguments.repository, folder.path(), overrides, load::first_record)?;
    let workload = Workload::new(VALUE_BYTES, acks, arguments.megabytes);
    let wall = load::produce(server.bootstrap(), &workload)?;
    let bytes = workload.records as f64 * workload.value_bytes as f64;
    Ok((bytes / wall.as_secs_f64(), Running { server, folder }))
}

/// How long the disk takes for a flush of a file that was appended to, one after the other.
fn flushes(folder: &Path) -> anyhow::Result<Vec<Duration>> {
    let path = folder.join("own-flushes");
    let mut file = File::create(&path)?;
    let bytes = load::value(FLUSHED_BYTES);
    let mut flush = || -> anyhow::Result<Duration> {
        file.write_all(&bytes)?;
        let began = Instant::now();
        file.sync_data()?;
        Ok(began.elapsed())
    };
    let taken = (0..OWN_FLUSHES).map(|_| flush()).collect();
    std::fs::remove_file(&path)?;
    taken
}
