//! Quotas as a request's handler sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use strata_metadata::{Image, MetadataRecord};
use strata_types::TopicId;

use super::{Kind, Mutations};
use crate::dispatch::Context;
use crate::measured;

/// Kafka's words where a change is refused by quota.
pub(crate) const REFUSED: &str = "The throttling quota has been exceeded.";

impl Context {
    /// Counts what the sender has used. Over its quota, its connection rests; the answer says for how many milliseconds.
    pub(crate) fn charge(&self, kind: Kind, amount: f64) -> i32 {
        let quotas = &self.broker.quotas;
        if quotas.is_off(kind) {
            return 0;
        }
        let now = Instant::now();
        let wait = quotas.record(kind, self.user(), self.client_id_text(), amount, self.broker.clock_ms(now));
        self.peer.throttle.rest(wait, now)
    }

    /// Whether the processor's time up to now would take the sender over its quota. It is charged once the request is
    /// answered.
    pub(crate) fn is_over_request_quota(&self) -> bool {
        let quotas = &self.broker.quotas;
        if quotas.is_off(Kind::Request) {
            return false;
        }
        let (now_ms, used) = (self.broker.clock_ms(Instant::now()), measured::percent(measured::busy()));
        let wait = quotas.record(Kind::Request, self.user(), self.client_id_text(), used, now_ms);
        quotas.unrecord(Kind::Request, self.user(), self.client_id_text(), used, now_ms);
        wait > 0
    }

    /// Takes back what was counted.
    pub(crate) fn refund(&self, kind: Kind, amount: f64) {
        let now_ms = self.broker.clock_ms(Instant::now());
        self.broker.quotas.unrecord(kind, self.user(), self.client_id_text(), amount, now_ms);
    }

    /// What one fetch may get at most, if the sender has a quota.
    pub(crate) fn fetch_bytes_max(&self) -> Option<usize> {
        self.broker.quotas.fetch_bytes_max(self.user(), self.client_id_text())
    }

    /// What this request may change of partitions. `strict`: its version knows of refusal by quota.
    pub(crate) fn mutations(&self, strict: bool) -> Mutations<'_> {
        let now_ms = self.broker.clock_ms(Instant::now());
        self.broker.quotas.mutations(self.user(), self.client_id_text(), strict, now_ms)
    }

    /// The connection rests for as long as changes of partitions cost; the answer says for how many milliseconds.
    pub(crate) fn rest_after(&self, mutations: &Mutations<'_>) -> i32 {
        self.peer.throttle.rest(mutations.throttle_ms(), Instant::now())
    }

    fn user(&self) -> &str {
        self.principal().name()
    }

    fn client_id_text(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }
}

impl Mutations<'_> {
    /// Charges the partitions that a decision makes or deletes, topic by topic. Records of topics that are too much are taken
    /// out of it, and their ids answered.
    pub(crate) fn charge(&mut self, image: &Image, records: &mut Vec<MetadataRecord>) -> BTreeSet<TopicId> {
        if self.limit.is_none() {
            return BTreeSet::new();
        }
        let mut partitions: BTreeMap<TopicId, usize> = BTreeMap::new();
        for record in records.iter() {
            match record {
                MetadataRecord::Partition(record) => {
                    *partitions.entry(TopicId(record.topic_id)).or_default() += 1;
                }
                MetadataRecord::RemoveTopic(record) => {
                    let id = TopicId(record.topic_id);
                    let gone = image.topic_by_id(id).map_or(0, |topic| topic.partitions.len());
                    partitions.insert(id, gone);
                }
                _ => {}
            }
        }
        let refused: BTreeSet<TopicId> =
            partitions.into_iter().filter(|(_, count)| !self.take(*count)).map(|(id, _)| id).collect();
        if refused.is_empty() {
            return refused;
        }
        let names: BTreeSet<_> = records
            .iter()
            .filter_map(|record| match record {
                MetadataRecord::Topic(record) if refused.contains(&TopicId(record.topic_id)) => {
                    Some(record.name.clone())
                }
                _ => None,
            })
            .collect();
        records.retain(|record| match record {
            MetadataRecord::Topic(record) => !refused.contains(&TopicId(record.topic_id)),
            MetadataRecord::Partition(record) => !refused.contains(&TopicId(record.topic_id)),
            MetadataRecord::RemoveTopic(record) => !refused.contains(&TopicId(record.topic_id)),
            MetadataRecord::Config(record) => !names.contains(&record.resource_name),
            _ => true,
        });
        refused
    }
}
