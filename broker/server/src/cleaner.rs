//! Compaction: the log's cleaner, with this broker's logs and the cluster's settings.

use std::sync::Arc;
use std::time::Duration;

use strata_log::{CleanerHost, CleanerOptions, Log, LogCleaner, StorageError};
use strata_metadata::Image;
use strata_types::TimestampMs;

use crate::broker;
use crate::configs::Configs;
use crate::partitions::Partitions;

/// Starts the cleaner's threads.
pub(crate) fn start(
    partitions: &Arc<Partitions>,
    configs: &Configs,
    image: &Image,
) -> Result<LogCleaner, StorageError> {
    LogCleaner::start(Arc::new(Host(partitions.clone())), options(configs, image))
}

/// What the settings say now.
pub(crate) fn options(configs: &Configs, image: &Image) -> CleanerOptions {
    let enabled = configs.broker_flag(image, "log.cleaner.enable");
    let bytes_per_second = configs.broker_value(image, "log.cleaner.io.max.bytes.per.second");
    let load_factor = configs.broker_value(image, "log.cleaner.io.buffer.load.factor");
    let default = CleanerOptions::default();
    let float =
        |text: Option<String>, default| text.and_then(|text| text.trim().parse().ok()).unwrap_or(default);
    let backoff = configs.broker_number(image, "log.cleaner.backoff.ms");
    CleanerOptions {
        threads: if enabled { size(configs.broker_number(image, "log.cleaner.threads")) } else { 0 },
        dedupe_bytes_max: size(configs.broker_number(image, "log.cleaner.dedupe.buffer.size")),
        load_factor: float(load_factor, default.load_factor),
        io_buffer_bytes: size(configs.broker_number(image, "log.cleaner.io.buffer.size")),
        bytes_per_second_max: float(bytes_per_second, default.bytes_per_second_max),
        backoff: Duration::from_millis(backoff.unsigned_abs()),
    }
}

fn size(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

struct Host(Arc<Partitions>);

impl CleanerHost for Host {
    fn logs(&self) -> Vec<Arc<Log>> {
        self.0.manager().map(|manager| manager.logs()).unwrap_or_default()
    }

    fn cleaned(&self, log: &Arc<Log>) {
        let Some(manager) = self.0.manager() else { return };
        if let Err(error) = manager.checkpoint_cleaned() {
            // The next start cleans again what is clean; nothing is lost.
            tracing::warn!(partition = %log.partition(), "the cleaner's checkpoint could not be written: {error}");
        }
    }

    fn now(&self) -> TimestampMs {
        broker::now()
    }
}
