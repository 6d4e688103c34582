//! Side by side: one driver (librdkafka), Strata and Apache Kafka in turn, several rounds, medians and their ratios.
//!
//! ```text
//! cargo build --release && cargo run --release -p strata-sxs
//! ```
//!
//! CPU seconds are the broker's, from the kernel's accounting of its process; no other figure here survives a noisy
//! machine as well as their ratio in one run.

mod load;
mod report;
mod server;
mod usage;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use crate::load::{Acks, Workload};
use crate::report::{Measured, Report};
use crate::server::{Kind, Server};
use crate::usage::Usage;

#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds of both servers in turn; the median of each figure is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Bytes of values per workload and round, in MB.
    #[arg(long, default_value_t = 300)]
    megabytes: usize,
    /// Leave out consuming from the archive, which only Strata is asked for.
    #[arg(long)]
    skip_cold: bool,
    /// Where the report goes.
    #[arg(long, default_value = "benches/RESULTS.md")]
    report: PathBuf,
    /// The repository's top folder: the start scripts are below it.
    #[arg(long, default_value = ".")]
    repository: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut report = Report::default();
    for round in 0..arguments.rounds {
        // In turn, and in turns: a machine that slows down does not favour whoever goes first.
        let order = if round % 2 == 0 { [Kind::Kafka, Kind::Strata] } else { [Kind::Strata, Kind::Kafka] };
        for kind in order {
            say(&format!("round {} of {}: {kind}", round + 1, arguments.rounds));
            measure(&arguments, kind, &mut report).with_context(|| format!("{kind}, round {}", round + 1))?;
        }
    }
    std::fs::write(&arguments.report, report.markdown(&arguments.describe()))
        .with_context(|| arguments.report.display().to_string())?;
    say(&format!("written: {}", arguments.report.display()));
    Ok(())
}

fn measure(arguments: &Arguments, kind: Kind, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(kind, &arguments.repository, folder.path())?;
    let first = load::first_record(server.bootstrap())?;
    report.add(kind, "start to first acknowledged record", "s", (server.started_in() + first).as_secs_f64());
    report.add(kind, "memory (RSS) at rest", "MB", server.usage()?.rss_mb);

    for workload in workloads(arguments.megabytes) {
        let measured = run(&server, &workload, |workload| load::produce(server.bootstrap(), workload))?;
        report.workload(kind, &format!("produce {}", workload.name()), &workload, measured);
        if workload.acks == Acks::Leader {
            let measured = run(&server, &workload, |workload| load::consume(server.bootstrap(), workload))?;
            report.workload(kind, &format!("consume {} B, hot", workload.value_bytes), &workload, measured);
        }
    }
    if kind == Kind::Strata && !arguments.skip_cold {
        let workload = Workload { cold: true, ..Workload::new(1_000, Acks::Leader, arguments.megabytes) };
        load::produce(server.bootstrap(), &workload)?;
        load::until_cold(&server, &workload)?;
        let measured = run(&server, &workload, |workload| load::consume(server.bootstrap(), workload))?;
        report.workload(kind, "consume 1000 B, cold", &workload, measured);
    }
    report.add(kind, "memory (RSS) after the load", "MB", server.usage()?.rss_mb);
    server.stop()
}

fn run(
    server: &Server,
    workload: &Workload,
    work: impl FnOnce(&Workload) -> anyhow::Result<std::time::Duration>,
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

impl Arguments {
    fn describe(&self) -> String {
        format!("{} rounds, {} MB a workload", self.rounds, self.megabytes)
    }
}

#[expect(clippy::print_stderr, reason = "progress of a program that runs for minutes")]
fn say(line: &str) {
    eprintln!("{line}");
}
