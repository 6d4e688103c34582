//! The `strata` binary: parses the command line and wires the parts together.
//!
//! ```text
//!  strata start ── server ◀─ quorum, log, coordinator        strata demo ── all of it, on a throw-away folder
//!        │           ▲ RemoteLog
//!        ├──────── tier (store, archive) ─▶ s3:// or file://  strata topic|produce|consume|… ── client ─▶ a broker
//!        └──────── runtime (streams) ─ client ─▶ the broker   strata connect ── worker ─ client ─▶ a broker
//! ```

mod cli;
mod demo;
mod logging;
mod output;
mod progress;
mod shipped;
mod traces;

use std::process::ExitCode;

use clap::Parser;

use crate::traces::Traces;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::from(error).context("the async runtime does not start")),
    };
    let traces = if cli.is_broker() { Traces::from_env(runtime.handle()) } else { Ok(None) };
    // To standard error, so that standard output stays the command's answer.
    let layer = traces.as_ref().ok().and_then(Option::as_ref).map(Traces::layer);
    logging::start(cli.log_format, cli.default_log_level(), layer);
    if let Err(why) = &traces {
        tracing::error!("no traces are sent: {why}");
    }
    let ended = runtime.block_on(cli.run());
    if let Ok(Some(traces)) = traces {
        traces.shutdown();
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// One line, with its causes: a person reads it, and a script sees status 1.
#[expect(clippy::print_stderr, reason = "the last word of a command that failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    if output::reader_is_gone() {
        // `strata consume … | head` has what it wanted.
        return ExitCode::SUCCESS;
    }
    eprintln!("strata: {}", one_line(error));
    ExitCode::FAILURE
}

/// An error and its causes. Most errors here say their cause themselves, which is not to be said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let words = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if line.contains(&words) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&words);
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn an_error_is_one_line_and_says_each_cause_once() {
        let error =
            anyhow!("the disk\n   is full").context("it did not work: the disk is full").context("c.conf");
        assert_eq!(one_line(&error), "c.conf: it did not work: the disk is full");
    }
}
