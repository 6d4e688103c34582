//! Measures Strata, beside Apache Kafka where both can do the same.
//!
//! ```text
//! cargo build --release
//! cargo run --release -p strata-sxs -- compare      # the same client against both servers, in turn
//! cargo run --release -p strata-sxs -- durability   # what waiting for the disk costs; how soon a record is consumed
//! cargo run --release -p strata-sxs -- scale        # many partitions, many connections, recovery after SIGKILL
//! ```
//!
//! | file | what |
//! |---|---|
//! | `compare`, `load` | workloads of one driver, librdkafka, the same for both servers |
//! | `durability`, `paced` | group commit and latency, by a driver that keeps to a rate |
//! | `scale` | what grows with partitions, connections and data |
//! | `server`, `usage` | starting and stopping; CPU seconds and memory from the kernel's accounting |
//! | `report`, `page` | medians and ratios; each command's section of `benches/RESULTS.md` |

mod compare;
mod durability;
mod load;
mod paced;
mod page;
mod report;
mod scale;
mod server;
mod usage;

use clap::Parser;

#[derive(Debug, Parser)]
enum Command {
    /// Strata and Apache Kafka in turn, several rounds, medians and their ratios.
    Compare(compare::Arguments),
    /// What waiting for the disk costs, and how soon a record comes to its consumer.
    Durability(durability::Arguments),
    /// What Strata needs for many partitions, many connections, and much data after a crash.
    Scale(scale::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Durability(arguments) => durability::run(&arguments),
        Command::Scale(arguments) => scale::run(&arguments),
    }
}

#[expect(clippy::print_stderr, reason = "progress of a program that runs for minutes")]
fn say(line: &str) {
    eprintln!("{line}");
}
