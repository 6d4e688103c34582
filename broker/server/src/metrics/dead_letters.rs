//! What became of share groups' dead letters (KIP-1191), by group.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::Mutex;
use strata_protocol::Str;

use super::scrape::Out;

/// The most groups that are told apart; those that come later are counted together.
const GROUPS_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct DeadLetterCounts(Mutex<BTreeMap<Str, Counts>>);

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    sent: u64,
    failed: u64,
    records: u64,
}

impl DeadLetterCounts {
    /// An append is tried.
    pub(crate) fn sent(&self, group: &Str) {
        self.change(group, |counts| counts.sent += 1);
    }

    /// Letters are given up.
    pub(crate) fn failed(&self, group: &Str) {
        self.change(group, |counts| counts.failed += 1);
    }

    pub(crate) fn written(&self, group: &Str, records: i32) {
        self.change(group, |counts| counts.records += u64::try_from(records).unwrap_or(0));
    }

    fn change(&self, group: &Str, change: impl FnOnce(&mut Counts)) {
        let mut groups = self.0.lock();
        let is_known = groups.contains_key(group) || groups.len() < GROUPS_MAX;
        let group = if is_known { group.detached() } else { Str::default() };
        change(groups.entry(group).or_default());
    }

    pub(super) fn encode(&self, out: &mut Out<'_>) -> fmt::Result {
        let groups = self.0.lock().clone();
        let each = |value: fn(&Counts) -> u64| {
            let series = groups
                .iter()
                .map(move |(group, counts)| (vec![("group", group.to_string())], value(counts) as f64));
            series.collect::<Vec<_>>()
        };
        for (name, help, value) in [
            (
                "deadletterqueuerecordcount",
                "Records that were written to dead-letter queues",
                (|c| c.records) as fn(&Counts) -> u64,
            ),
            ("deadletterqueuetotalproducerequests", "Appends to dead-letter queues", |c| c.sent),
            ("deadletterqueuefailedproducerequests", "Times that dead letters were given up", |c| c.failed),
        ] {
            out.counter(&format!("kafka_server_sharegroupmetrics_{name}"), help, each(value))?;
        }
        Ok(())
    }
}
