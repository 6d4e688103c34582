//! Fetch (1): reads batches, and waits for them.
//!
//! - The answer goes out once `min_bytes` are there, `max_wait_ms` are over, or something went wrong. The first batch
//!   found is always returned, whatever the limits say; all further ones fit into them.
//! - Records are file ranges, sent by the kernel. What lies below the local start comes from the archive, as bytes.
//! - v4: isolation level. v5: log start offsets. v7: sessions (KIP-227). v9: the client's leader epoch is checked (KIP-320).
//!   v12: flexible. v13: topics by id. v15: followers say who they are in a tagged field. v16: node endpoints. v18: the
//!   follower's high watermark.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strata_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use strata_protocol::messages::{FetchRequest, FetchResponse};
use strata_types::ErrorCode;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::fetch_sessions::{Resolved, Told, TopicKey, Wanted};
use crate::partition::Partition;
use crate::quotas::Kind;
use crate::read::{self, Limits, Outcome};
use crate::security::{Access, Operation, Resource};
use crate::trace::span;

pub(crate) struct Fetch;

impl Handler for Fetch {
    type Request = FetchRequest;
    const VERSIONS: RangeInclusive<i16> = 4..=18;

    async fn handle(cx: Context, request: Self::Request) -> Result<FetchResponse, Refusal> {
        let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
        let quota_bytes_max = cx.fetch_bytes_max().unwrap_or(usize::MAX);
        let query = Query {
            deadline: Instant::now() + max_wait,
            bytes_min: usize::try_from(request.min_bytes).unwrap_or(0).min(quota_bytes_max),
            bytes_max: usize::try_from(request.max_bytes)
                .unwrap_or(0)
                .min(cx.broker.config.settings.fetch_bytes_max)
                .min(quota_bytes_max),
            committed: request.isolation_level == 1,
            from_follower: request.replica_id.max(request.replica_state.replica_id) >= 0,
        };
        let resolved = match cx.broker.fetch_sessions.resolve(request, cx.version) {
            Ok(resolved) => resolved,
            Err(code) => return Ok(FetchResponse { error_code: code.into(), ..Default::default() }),
        };
        let from_follower = query.from_follower;
        let access = cx.access();
        let may_replicate = from_follower && access.allows(Operation::ClusterAction, Resource::Cluster);
        let find = |wanted| {
            if from_follower {
                let found = may_replicate.then(|| find(&cx.broker, wanted));
                return found.unwrap_or(Err(ErrorCode::TopicAuthorizationFailed));
            }
            find_allowed(&cx.broker, &access, wanted)
        };
        let found: Vec<Found> = resolved.wanted.iter().map(find).collect();
        let outcomes = query.run(&cx.broker, &resolved.wanted, &found).await;
        let bytes: usize = outcomes.iter().map(Outcome::bytes).sum();
        if !from_follower {
            let throttle_time_ms = cx.charge(Kind::Fetch, bytes as f64);
            if throttle_time_ms > 0 || cx.is_over_request_quota() {
                // The client gets nothing now, asks again, and pays then (KIP-219).
                cx.refund(Kind::Fetch, bytes as f64);
                let session_id = resolved.session_id();
                return Ok(FetchResponse { throttle_time_ms, session_id, ..Default::default() });
            }
        }
        for (partition, outcome) in found.iter().zip(&outcomes) {
            if let Ok(partition) = partition {
                partition.stats.bytes_out.fetch_add(outcome.bytes() as u64, Ordering::Relaxed);
            }
        }
        Ok(respond(&resolved, outcomes))
    }
}

type Found = Result<Arc<Partition>, ErrorCode>;

struct Query {
    deadline: Instant,
    bytes_min: usize,
    bytes_max: usize,
    committed: bool,
    from_follower: bool,
}

impl Query {
    /// Reads until there is enough, or no time left.
    async fn run(&self, broker: &Arc<Broker>, wanted: &[Wanted], found: &[Found]) -> Vec<Outcome> {
        let notify = Arc::new(Notify::new());
        loop {
            // Watched before the look, so that no move between look and wait is missed.
            let watches: Vec<_> = found.iter().flatten().map(|partition| partition.watch(&notify)).collect();
            let outcomes = self.read(wanted, found);
            let bytes: usize = outcomes.iter().map(Outcome::bytes).sum();
            let urgent = outcomes.iter().any(|outcome| outcome.error.is_some());
            if outcomes.iter().any(|outcome| outcome.below_local_start) {
                let read = read::from_archive(broker, outcomes, wanted, found, self.bytes_max);
                return read.instrument(span!("remote read")).await;
            }
            if bytes >= self.bytes_min || urgent || wanted.is_empty() || self.deadline <= Instant::now() {
                return outcomes;
            }
            let moved = timeout_at(self.deadline, notify.notified()).instrument(span!("await records"));
            let waited = broker.stopping.run_until_cancelled(moved).await;
            drop(watches);
            if !matches!(waited, Some(Ok(()))) {
                // Time is up, or the broker stops: what little there is now.
                return self.read(wanted, found);
            }
        }
    }

    fn read(&self, wanted: &[Wanted], found: &[Found]) -> Vec<Outcome> {
        let mut limits = Limits { bytes_left: self.bytes_max, nothing_yet: true };
        let read = |(wanted, found): (&Wanted, &Found)| match found {
            Err(code) => Outcome::error(*code, None),
            // Only the replicas that a partition has may fetch as such, and it has none but us.
            Ok(_) if self.from_follower => Outcome::error(ErrorCode::NotLeaderOrFollower, None),
            Ok(partition) => read::local(partition, wanted, self.committed, &mut limits),
        };
        wanted.iter().zip(found).map(read).collect()
    }
}

fn find(broker: &Broker, wanted: &Wanted) -> Found {
    match &wanted.topic {
        TopicKey::Id(id) => broker.partitions.by_id(*id, wanted.partition),
        TopicKey::Name(name) => broker.partitions.by_name(name, wanted.partition),
    }
}

/// The partition, if its topic may be read. Whether a topic is there, only those learn who may read one of its name.
fn find_allowed(broker: &Broker, access: &Access, wanted: &Wanted) -> Found {
    let read = |name: &str| access.check(Operation::Read, Resource::Topic(name));
    match &wanted.topic {
        TopicKey::Name(name) => read(name).and_then(|()| find(broker, wanted)),
        TopicKey::Id(id) => {
            let partition = broker.partitions.by_id(*id, wanted.partition);
            partition.and_then(|found| read(found.id.partition.topic.as_str()).map(|()| found))
        }
    }
}

fn respond(resolved: &Resolved, outcomes: Vec<Outcome>) -> FetchResponse {
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let wanted = &resolved.wanted[index];
        let has_records = outcome.bytes() > 0;
        let told = outcome.error.is_none().then_some(Told {
            high_watermark: outcome.high_watermark.0,
            log_start_offset: outcome.log_start_offset.0,
        });
        if !resolved.tell(index, told, has_records || outcome.error.is_some(), has_records) {
            continue;
        }
        let same = |topic: &FetchableTopicResponse| match &wanted.topic {
            TopicKey::Id(id) => topic.topic_id == id.0,
            TopicKey::Name(name) => topic.topic == *name,
        };
        if !responses.last().is_some_and(same) {
            let mut topic = FetchableTopicResponse::default();
            match &wanted.topic {
                TopicKey::Id(id) => topic.topic_id = id.0,
                TopicKey::Name(name) => topic.topic = name.clone(),
            }
            responses.push(topic);
        }
        if let Some(topic) = responses.last_mut() {
            topic.partitions.push(answer(wanted, outcome));
        }
    }
    FetchResponse { session_id: resolved.session_id(), responses, ..Default::default() }
}

fn answer(wanted: &Wanted, outcome: Outcome) -> PartitionData {
    PartitionData {
        partition_index: wanted.partition,
        error_code: outcome.error.unwrap_or(ErrorCode::None).into(),
        high_watermark: outcome.high_watermark.0,
        last_stable_offset: outcome.last_stable_offset.0,
        log_start_offset: outcome.log_start_offset.0,
        aborted_transactions: outcome.aborted,
        records: Some(outcome.records),
        ..Default::default()
    }
}
