//! Side by side: one driver, Strata and Apache Kafka in turn, several rounds, medians and their ratios.
//!
//! CPU seconds are the broker's, from the kernel's accounting of its process; no other figure here survives a noisy
//! machine as well as their ratio in one run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::load::{self, Acks, Workload};
use crate::report::{Measured, Report};
use crate::server::{Kind, Server};
use crate::usage::Usage;
use crate::{page, say};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Rounds of both servers in turn; the median of each figure is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Bytes of values per workload and round, in MB.
    #[arg(long, default_value_t = 300)]
    megabytes: usize,
    /// Leave out consuming from the archive, which only Strata is asked for.
    #[arg(long)]
    skip_cold: bool,
    /// The page whose section "Side by side" is replaced.
    #[arg(long, default_value = "benches/RESULTS.md")]
    report: PathBuf,
    /// The repository's top folder: the start scripts are below it.
    #[arg(long, default_value = ".")]
    repository: PathBuf,
}

const ABOUT: &str = "Medians of several rounds, both servers in turn, one driver (librdkafka) on the same machine, each server with its defaults
(Strata's `acks=all` waits for the disk, Apache Kafka's for the page cache). By `strata-sxs compare`.";

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut report = Report::default();
    for round in 0..arguments.rounds {
        // In turn, and in turns: a machine that slows down does not favour whoever goes first.
        let order = if round % 2 == 0 { [Kind::Kafka, Kind::Strata] } else { [Kind::Strata, Kind::Kafka] };
        for kind in order {
            say(&format!("round {} of {}: {kind}", round + 1, arguments.rounds));
            measure(arguments, kind, &mut report).with_context(|| format!("{kind}, round {}", round + 1))?;
        }
    }
    let run = format!("This run: {} rounds, {} MB a workload.", arguments.rounds, arguments.megabytes);
    let body = format!("{ABOUT}\n{run}\n\n{}", report.ratios());
    page::replace_section(&arguments.report, "Side by side", &body)
}

fn measure(arguments: &Arguments, kind: Kind, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(kind, &arguments.repository, folder.path(), &[], load::first_record)?;
    report.add(kind, "start to first acknowledged record", "s", server.answered_after().as_secs_f64());
    report.add(kind, "memory (RSS) at rest", "MB", server.usage()?.rss_mb);

    for workload in workloads(arguments.megabytes) {
        let measured = observe(&server, &workload, |workload| load::produce(server.bootstrap(), workload))?;
        report.workload(kind, &format!("produce {}", workload.name()), &workload, measured);
        if workload.acks == Acks::Leader {
            let measured =
                observe(&server, &workload, |workload| load::consume(server.bootstrap(), workload))?;
            report.workload(kind, &format!("consume {} B, hot", workload.value_bytes), &workload, measured);
        }
    }
    report.add(kind, "memory (RSS) after the load", "MB", server.usage()?.rss_mb);
    server.stop()?;
    if kind == Kind::Strata && !arguments.skip_cold {
        measure_cold(arguments, report)?;
    }
    Ok(())
}

/// Consumes from the archive. On a server of its own: by default the log is looked through for what may go every five
/// minutes only, as on Apache Kafka.
fn measure_cold(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let often = ["log.retention.check.interval.ms=1000"];
    let server =
        Server::start(Kind::Strata, &arguments.repository, folder.path(), &often, load::first_record)?;
    let workload = Workload { cold: true, ..Workload::new(1_000, Acks::Leader, arguments.megabytes) };
    load::produce(server.bootstrap(), &workload)?;
    load::until_cold(&server, &workload)?;
    let measured = observe(&server, &workload, |workload| load::consume(server.bootstrap(), workload))?;
    report.workload(Kind::Strata, "consume 1000 B, cold", &workload, measured);
    server.stop()
}

fn observe(
    server: &Server,
    workload: &Workload,
    work: impl FnOnce(&Workload) -> anyhow::Result<Duration>,
) -> anyhow::Result<Measured> {
    let before: Usage = server.usage()?;
    let wall = work(workload)?;
    let after = server.usage()?;
    Ok(Measured { cpu_seconds: after.cpu_seconds - before.cpu_seconds, wall })
}

fn workloads(megabytes: usize) -> Vec<Workload> {
    let of = |value_bytes, acks, megabytes| Workload::new(value_bytes, acks, megabytes);
    // Small records are many: a third of the bytes keeps a round short.
    vec![
        of(100, Acks::Leader, megabytes / 3),
        of(100, Acks::All, megabytes / 3),
        of(1_000, Acks::Leader, megabytes),
        of(1_000, Acks::All, megabytes),
    ]
}
