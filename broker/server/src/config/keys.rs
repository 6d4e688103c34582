//! The table of known broker settings: type, default, what is allowed, and when a change counts.
//!
//! The rows are data (`broker_keys.tsv`: facts of Apache Kafka 4.3; `strata_keys.tsv`: our own), so that following a new
//! release is a reviewed diff of a table. Topic settings are defined where they act, in `strata_log`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::value::{Allowed, Kind, Problem};

/// One known setting.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// What counts when nothing is said. `None`: unset.
    pub default: Option<&'static str>,
    pub allowed: Allowed,
    pub update: Update,
}

/// When a change of a broker setting counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// At the next start only.
    ReadOnly,
    /// At once, for one broker.
    PerBroker,
    /// At once, for one broker or for all of them.
    ClusterWide,
}

impl Key {
    /// Whether `text` is a value of this setting.
    pub fn check(&self, text: &str) -> Result<(), Problem> {
        self.kind.check(text)?;
        self.allowed.check(self.kind, text)
    }

    /// The same, and if not, why not, as Kafka says it to the clients that set it.
    pub(crate) fn check_in_kafkas_words(&self, text: &str) -> Result<(), String> {
        match self.check(text) {
            Ok(()) => Ok(()),
            Err(_) if self.kind.check(text).is_err() => Err(self.kind.words().to_owned()),
            Err(problem) => Err(self.allowed.words(text).unwrap_or_else(|| problem.to_string())),
        }
    }

    /// Whether the value must never be shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }
}

/// A broker setting by its name.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    KEYS.get(name)
}

/// Every broker setting, by name.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    KEYS.values()
}

/// Broker settings that say the same in another unit; of those that are set, the first counts.
pub fn broker_synonyms(name: &str) -> &'static [&'static str] {
    match name {
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            &["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        "log.roll.ms" | "log.roll.hours" => &["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        _ => &[],
    }
}

type Keys = BTreeMap<&'static str, Key>;

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let tables = [include_str!("broker_keys.tsv"), include_str!("strata_keys.tsv")];
    let rows = tables.iter().flat_map(|table| table.lines()).filter(|line| !line.starts_with('#'));
    rows.map(key).map(|key| (key.name, key)).collect()
});

/// A row of our own tables: a wrong one is our mistake, which every test would show.
fn key(row: &'static str) -> Key {
    let mut cells = row.split('\t');
    let mut cell = || cells.next().unwrap_or_else(|| panic!("a setting's row lacks a cell: {row}"));
    let (name, kind, default, allowed, update) = (cell(), cell(), cell(), cell(), cell());
    Key {
        name,
        kind: Kind::parse(kind).unwrap_or_else(|| panic!("{name}: no type is called {kind}")),
        default: match default {
            "-" | "null" => None,
            "\"\"" => Some(""),
            value => Some(value),
        },
        allowed: Allowed::parse(allowed),
        update: match update {
            "per-broker" => Update::PerBroker,
            "cluster-wide" => Update::ClusterWide,
            _ => Update::ReadOnly,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed() {
        for key in broker_keys() {
            if let Some(default) = key.default {
                // Kafka itself has an empty default where it then asks for a list that is not empty.
                let says_nothing = default.is_empty();
                assert!(says_nothing || key.check(default).is_ok(), "{}: {default}", key.name);
            }
        }
    }

    #[test]
    fn synonyms_are_known_settings() {
        for key in broker_keys() {
            assert!(broker_synonyms(key.name).iter().all(|name| broker_key(name).is_some()));
        }
    }
}
