//! What was counted, and what it may be.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// By how much a count may differ where the limits are written anew: compilers and C libraries differ by less.
const TOLERANCE_PERCENT: f64 = 5.0;

/// `limits.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Limits {
    tolerance_percent: f64,
    instructions_per_message: BTreeMap<String, f64>,
}

impl Limits {
    pub fn of(counted: &[(&str, f64)]) -> Self {
        let rounded = counted.iter().map(|(name, count)| ((*name).to_owned(), (count * 10.0).round() / 10.0));
        Self { tolerance_percent: TOLERANCE_PERCENT, instructions_per_message: rounded.collect() }
    }

    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }

    /// A table of all counts, and what is wrong with them. Fewer instructions than the limits know are wrong too: the next
    /// regression could hide behind them.
    pub fn compare(&self, counted: &[(&str, f64)]) -> (String, Vec<String>) {
        let mut table = format!("{:>10} {:>10} {:>8}  instructions per message\n", "counted", "limit", "");
        let mut wrong = Vec::new();
        for (name, count) in counted {
            let Some(limit) = self.instructions_per_message.get(*name) else {
                wrong.push(format!("{name}: {count:.1}, and no limit is known (--update writes it)"));
                continue;
            };
            let percent = (count / limit - 1.0) * 100.0;
            let _ = writeln!(table, "{count:>10.1} {limit:>10.1} {percent:>+7.1}%  {name}");
            if percent.abs() > self.tolerance_percent {
                let what =
                    if percent > 0.0 { "a regression" } else { "an improvement, to be kept by --update" };
                wrong.push(format!("{name}: {count:.1} instead of {limit:.1}: {what}"));
            }
        }
        let counted_too = |name: &&String| !counted.iter().any(|(known, _)| known == name);
        let gone = self.instructions_per_message.keys().filter(counted_too);
        wrong.extend(gone.map(|name| format!("{name}: has a limit and was not counted")));
        (table, wrong)
    }
}

/// The instructions that a dump of callgrind's sums up.
pub fn total(dump: &str) -> Option<u64> {
    let total =
        dump.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")))?;
    total.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_and_fewer_instructions_than_tolerated_are_wrong() {
        let limits = Limits::of(&[("produce", 100.0), ("fetch", 10.0)]);
        let wrong = |produce, fetch| limits.compare(&[("produce", produce), ("fetch", fetch)]).1;
        assert!(wrong(104.9, 9.6).is_empty());
        assert_eq!(wrong(105.1, 10.0), ["produce: 105.1 instead of 100.0: a regression"]);
        assert_eq!(wrong(100.0, 9.4).len(), 1);
    }

    #[test]
    fn a_workload_without_a_limit_and_a_limit_without_a_workload_are_wrong() {
        let limits = Limits::of(&[("produce", 100.0)]);
        assert_eq!(limits.compare(&[("fetch", 1.0)]).1.len(), 2);
    }

    #[test]
    fn the_total_of_a_dump_is_found() {
        let dump = "# callgrind format\nevents: Ir\nsummary: 4711\n\nfn=(1) x\n16 2\n\ntotals: 4711\n";
        assert_eq!(total(dump), Some(4711));
        assert_eq!(total("events: Ir\n"), None);
    }
}
