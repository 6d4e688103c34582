//! The log: to standard error, as text or as JSON, with levels that may be changed while the process runs.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use strata_server::{LogLevels, ROOT, set_log_levels};
use strata_types::TRACE_TARGET;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// How a line of the log is written (`--log-format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for what collects logs.
    Json,
}

/// What can be given a level of its own: our crates, and libraries that say much.
const LOGGERS: &[&str] = &[
    "openraft",
    "strata",
    "strata_client",
    "strata_coordinator",
    "strata_log",
    "strata_metadata",
    "strata_quorum",
    "strata_runtime",
    "strata_server",
    "strata_store",
    "strata_worker",
];

/// Starts to write the log, and to collect traces where `traces` does. `STRATA_LOG` sets what is written; later changes
/// (kafka-configs, broker loggers) go on top.
pub fn start(format: LogFormat, default_level: &str, traces: Option<BoxedLayer>) {
    let directives = std::env::var("STRATA_LOG").unwrap_or_else(|_| default_level.to_owned());
    let filter = EnvFilter::try_new(&directives).unwrap_or_else(|_| EnvFilter::new(default_level));
    let (filter, handle) = reload::Layer::new(filter);
    let log = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && format == LogFormat::Text)
        .with_target(format == LogFormat::Json);
    let log = match format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().boxed(),
    };
    // Spans of traces are not the log's, whatever level it is set to: nobody pays for them when they are not collected.
    let not_traces = filter_fn(|metadata| metadata.target() != TRACE_TARGET);
    let layers = [Some(log.with_filter(filter.and(not_traces)).boxed()), traces];
    tracing_subscriber::registry().with(layers.into_iter().flatten().collect::<Vec<_>>()).init();
    let reload: Reload = Box::new(move |filter| handle.reload(filter).is_ok());
    set_log_levels(Arc::new(Levels { own: Mutex::new(Own::read(&directives)), reload }));
}

/// A consumer of events and spans.
pub type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

type Reload = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// What each logger is set to; directives that name more than a logger stay as they are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Own {
    levels: BTreeMap<String, &'static str>,
    others: Vec<String>,
}

impl Own {
    fn read(directives: &str) -> Self {
        let mut own = Self::default();
        for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            let (logger, level) = directive.split_once('=').unwrap_or((ROOT, directive));
            match level_name(level).filter(|_| logger == ROOT || LOGGERS.contains(&logger)) {
                Some(level) => {
                    own.levels.insert(logger.to_owned(), level);
                }
                None => own.others.push(directive.to_owned()),
            }
        }
        own
    }

    fn level(&self, logger: &str) -> &'static str {
        let own = self.levels.get(logger).or_else(|| self.levels.get(ROOT));
        own.copied().unwrap_or("ERROR")
    }

    fn directives(&self) -> String {
        let levels = self.levels.iter().map(|(logger, level)| match logger.as_str() {
            ROOT => (*level).to_owned(),
            logger => format!("{logger}={level}"),
        });
        levels.chain(self.others.iter().cloned()).collect::<Vec<_>>().join(",")
    }
}

fn level_name(text: &str) -> Option<&'static str> {
    ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"].into_iter().find(|level| level.eq_ignore_ascii_case(text))
}

struct Levels {
    own: Mutex<Own>,
    reload: Reload,
}

impl LogLevels for Levels {
    fn levels(&self) -> Vec<(String, &'static str)> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let all = [ROOT].into_iter().chain(LOGGERS.iter().copied());
        all.map(|logger| (logger.to_owned(), own.level(logger))).collect()
    }

    fn set(&self, logger: &str, level: Option<&'static str>) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match level {
            Some(level) => own.levels.insert(logger.to_owned(), level),
            None => own.levels.remove(logger),
        };
        if !(self.reload)(EnvFilter::new(own.directives())) {
            tracing::error!(logger, "the log's levels could not be changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_read_and_written_back() {
        let mut own = Own::read("info,openraft=warn,strata_log[span]=trace,hyper=debug");
        assert_eq!(
            (own.level(ROOT), own.level("openraft"), own.level("strata_log")),
            ("INFO", "WARN", "INFO")
        );
        own.levels.insert("strata_log".to_owned(), "DEBUG");
        assert_eq!(
            own.directives(),
            "openraft=WARN,INFO,strata_log=DEBUG,strata_log[span]=trace,hyper=debug"
        );
        assert_eq!(Own::read(""), Own::default());
    }
}
