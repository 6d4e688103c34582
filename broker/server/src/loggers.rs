//! Levels of loggers, as `kafka-configs --entity-type broker-loggers` asks for and changes them (KIP-412). They are this process's,
//! and gone with it.

use std::sync::{Arc, OnceLock};

use strata_protocol::Str;
use strata_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use strata_types::ErrorCode;

use crate::configs::{Described, Said, Source};

/// The logger that all others follow which have no level of their own.
pub const ROOT: &str = "root";

/// Whoever writes the log, and can be told how much of it.
pub trait LogLevels: Send + Sync {
    /// Every logger by name, with the level that counts: `TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`.
    fn levels(&self) -> Vec<(String, &'static str)>;
    /// Gives a logger a level, or without one takes it away. Both have been checked.
    fn set(&self, logger: &str, level: Option<&'static str>);
}

/// One for the process, as is the log.
static LEVELS: OnceLock<Arc<dyn LogLevels>> = OnceLock::new();

/// Says who writes the log. Only the first one counts.
pub fn set_log_levels(levels: Arc<dyn LogLevels>) {
    // A second broker in the same process writes to the same log.
    let _ = LEVELS.set(levels);
}

/// The loggers as settings.
pub(crate) fn describe() -> Vec<Described> {
    let levels = LEVELS.get().map(|levels| levels.levels()).unwrap_or_default();
    let described = levels.into_iter().map(|(name, level)| {
        let name = Str::from(name);
        let said =
            Said { name: name.clone(), value: Some(Str::from_static(level)), source: Source::BrokerLogger };
        Described {
            name,
            said: vec![said],
            default: None,
            // A text, as Kafka says.
            type_code: 2,
            read_only: false,
            sensitive: false,
            documentation: None,
        }
    });
    described.collect()
}

/// Changes levels: all that are asked for, or none. The words are Kafka's.
pub(crate) fn alter(
    node: &str,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), (ErrorCode, String)> {
    let name = &resource.resource_name;
    if name.as_str() != node {
        let why = format!("Unexpected broker id, expected {node}, but received {name}");
        return Err((ErrorCode::InvalidRequest, why));
    }
    let levels = LEVELS.get().map(|levels| levels.levels()).unwrap_or_default();
    let mut changes = Vec::new();
    for config in &resource.configs {
        let logger = config.name.as_str();
        if !levels.iter().any(|(known, _)| known == logger) {
            return Err((ErrorCode::InvalidConfig, format!("Logger {logger} does not exist!")));
        }
        match config.config_operation {
            0 => {
                let wanted = config.value.as_deref().unwrap_or_default();
                let level = level_of(wanted).ok_or_else(|| {
                    let why = format!(
                        "Cannot set the log level of {logger} to {wanted} as it is not a supported log level. Valid log levels are \
                         DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
                    );
                    (ErrorCode::InvalidConfig, why)
                })?;
                changes.push((logger, Some(level)));
            }
            1 if logger == ROOT => {
                let why = "Removing the log level of the root logger is not allowed";
                return Err((ErrorCode::InvalidRequest, why.to_owned()));
            }
            1 => changes.push((logger, None)),
            other => {
                let operation = match other {
                    2 => "APPEND",
                    3 => "SUBTRACT",
                    _ => "UNKNOWN",
                };
                let why = format!("{operation} operation is not allowed for the BROKER_LOGGER resource");
                return Err((ErrorCode::InvalidRequest, why));
            }
        }
    }
    if let Some(levels) = LEVELS.get().filter(|_| !validate_only) {
        changes.into_iter().for_each(|(logger, level)| levels.set(logger, level));
    }
    Ok(())
}

/// Kafka's levels; its gravest is our gravest.
fn level_of(text: &str) -> Option<&'static str> {
    Some(match text {
        "TRACE" => "TRACE",
        "DEBUG" => "DEBUG",
        "INFO" => "INFO",
        "WARN" => "WARN",
        "ERROR" | "FATAL" => "ERROR",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use parking_lot::Mutex;
    use strata_protocol::messages::incremental_alter_configs_request::AlterableConfig;

    use super::*;

    #[derive(Default)]
    struct Fake(Mutex<BTreeMap<String, &'static str>>);

    impl LogLevels for Fake {
        fn levels(&self) -> Vec<(String, &'static str)> {
            let own = self.0.lock();
            let level = |name: &str| own.get(name).copied().unwrap_or("INFO");
            [ROOT, "strata_log"].into_iter().map(|name| (name.to_owned(), level(name))).collect()
        }

        fn set(&self, logger: &str, level: Option<&'static str>) {
            match level {
                Some(level) => self.0.lock().insert(logger.to_owned(), level),
                None => self.0.lock().remove(logger),
            };
        }
    }

    fn changed(node: &str, logger: &str, operation: i8, level: &str) -> Result<(), (ErrorCode, String)> {
        let config = AlterableConfig {
            name: logger.into(),
            config_operation: operation,
            value: Some(level.into()),
            ..Default::default()
        };
        let resource =
            AlterConfigsResource { resource_name: node.into(), configs: vec![config], ..Default::default() };
        alter("1", &resource, false)
    }

    #[test]
    fn levels_are_shown_changed_and_refused_as_in_kafka() {
        set_log_levels(Arc::new(Fake::default()));
        let level = |name: &str| {
            let all = describe();
            let found = all.iter().find(|described| described.name.as_str() == name)?;
            found.effective().0.map(|level| level.to_string())
        };
        assert_eq!(level("strata_log").as_deref(), Some("INFO"));
        assert_eq!(changed("1", "strata_log", 0, "DEBUG"), Ok(()));
        assert_eq!(level("strata_log").as_deref(), Some("DEBUG"));
        assert_eq!(changed("1", "strata_log", 1, ""), Ok(()));
        assert_eq!(level("strata_log").as_deref(), Some("INFO"));
        let code = |changed: Result<(), (ErrorCode, String)>| changed.unwrap_err().0;
        assert_eq!(code(changed("1", ROOT, 0, "NOISE")), ErrorCode::InvalidConfig);
        assert_eq!(code(changed("1", "nobody", 0, "INFO")), ErrorCode::InvalidConfig);
        assert_eq!(code(changed("1", ROOT, 1, "")), ErrorCode::InvalidRequest);
        assert_eq!(code(changed("1", ROOT, 2, "INFO")), ErrorCode::InvalidRequest);
        assert_eq!(code(changed("7", ROOT, 0, "INFO")), ErrorCode::InvalidRequest);
    }
}
