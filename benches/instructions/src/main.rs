//! Instructions per message, counted by callgrind: a regression of the hot path that no noisy clock would show.
//!
//! ```text
//! benches/instructions/run             # builds, counts, compares with limits.json
//! benches/instructions/run --update    # writes what was counted into limits.json
//!
//! check ─▶ valgrind --tool=callgrind ─▶ measure N ─▶ a broker in this process ─▶ `observed`: frame ─▶ answer, one thread
//!   └──────────── total ◀──────────────────┘
//! ```
//!
//! Counted is what one thread of the broker does from a request's frame to its answer's bytes: decoding, permissions,
//! quotas, CRC and checks, the append with its offsets and index, metrics, encoding. Not counted are the kernel, the socket,
//! the flusher's thread and the client.

mod client;
mod limits;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Parser;

use crate::limits::Limits;
use crate::workloads::WORKLOADS;

#[derive(Debug, Parser)]
enum Arguments {
    /// Runs the workloads below callgrind and compares what it counted with the limits.
    Check {
        /// Where the limits stand.
        #[arg(long, default_value = "benches/instructions/limits.json")]
        limits: PathBuf,
        /// Writes what was counted instead of comparing it.
        #[arg(long)]
        update: bool,
    },
    /// Runs one workload; what `check` has observed.
    Measure {
        /// Its place in the list of workloads, from 0.
        number: usize,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse() {
        Arguments::Measure { number } => {
            workloads::run(WORKLOADS.get(number).context("there is no such workload")?)
        }
        Arguments::Check { limits, update } => check(&limits, update),
    }
}

fn check(path: &Path, update: bool) -> anyhow::Result<()> {
    let mut counted = Vec::with_capacity(WORKLOADS.len());
    for (number, workload) in WORKLOADS.iter().enumerate() {
        let instructions = count(number).context(workload.name)?;
        counted.push((workload.name, instructions as f64 / workload.messages() as f64));
    }
    if update {
        return Limits::of(&counted).write(path);
    }
    let (table, wrong) = Limits::read(path)?.compare(&counted);
    say(&table);
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Runs a workload below callgrind; the instructions of all its messages.
fn count(number: usize) -> anyhow::Result<u64> {
    let folder = tempfile::tempdir()?;
    let dump = folder.path().join("dump");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=*strata_instructions*observed*"])
        .arg(format!("--callgrind-out-file={}", dump.display()))
        .arg(std::env::current_exe()?)
        .args(["measure", &number.to_string()])
        .status()
        .context("valgrind")?;
    anyhow::ensure!(status.success(), "what was observed failed: {status}");
    let dump = std::fs::read_to_string(&dump).with_context(|| dump.display().to_string())?;
    limits::total(&dump).context("callgrind's dump has no total")
}

#[expect(clippy::print_stdout, reason = "what this program is run for")]
fn say(text: &str) {
    println!("{text}");
}
