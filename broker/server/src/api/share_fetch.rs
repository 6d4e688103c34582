//! ShareFetch (78): acquires records for a member of a share group (KIP-932), and takes its word on earlier ones.
//!
//! - Sessions: epoch 0 opens one, −1 ends it (what the member still holds is free again), others say what changes. A new
//!   session comes without acknowledgements.
//! - Acknowledgements are stored first; their outcome stands in the same answer, as `acknowledge_error_code`.
//! - The answer goes out as soon as records are acquired, and names a partition that has none only if it is new in the
//!   session, was acknowledged, or has an error. A request with acknowledgements does not wait for records.
//! - Bytes count for the fetch quota; who is over it gets what it acquired, and rests afterwards.
//! - v2: `share_acquire_mode` (KIP-1206): whole batches, or exactly the records asked for. `is_renew_ack` (KIP-1222): the
//!   request renews locks and fetches nothing.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strata_coordinator::share::partition::AcquireMode;
use strata_coordinator::share::sessions::{FINAL_EPOCH, INITIAL_EPOCH, SessionKey, SessionPartition, Wanted};
use strata_protocol::messages::share_fetch_response::{
    AcquiredRecords, LeaderIdAndEpoch, PartitionData, ShareFetchableTopicResponse,
};
use strata_protocol::messages::{ShareFetchRequest, ShareFetchResponse};
use strata_protocol::{Records, Str};
use strata_types::{ErrorCode, TopicId};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::dispatch::{Context, Handler, Refusal};
use crate::features;
use crate::quotas::Kind;
use crate::security::{Operation, Resource};
use crate::share::{Failure, Fetched, Outcomes, Query, ShareSettings, acknowledgements};

pub(crate) struct ShareFetch;

/// A member's id is a UUID's text.
const MEMBER_ID_BYTES_MAX: usize = 36;

impl Handler for ShareFetch {
    type Request = ShareFetchRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    async fn handle(cx: Context, request: Self::Request) -> Result<ShareFetchResponse, Refusal> {
        let settings = ShareSettings::of(&cx.broker, request.group_id.as_deref().unwrap_or_default());
        let mut response = match fetch(&cx, request, settings).await {
            Ok(response) => response,
            Err(code) => ShareFetchResponse { error_code: code.into(), ..Default::default() },
        };
        response.acquisition_lock_timeout_ms = settings.limits.lock_duration_ms;
        Ok(response)
    }
}

async fn fetch(
    cx: &Context,
    mut request: ShareFetchRequest,
    settings: ShareSettings,
) -> Result<ShareFetchResponse, ErrorCode> {
    let broker = &cx.broker;
    let session = session_key(cx, request.group_id.take(), request.member_id.take())?;
    let is_renewal = request.is_renew_ack;
    let fetches_nothing =
        [request.max_bytes, request.min_bytes, request.max_records, request.max_wait_ms] == [0; 4];
    if is_renewal && !fetches_nothing {
        return Err(ErrorCode::InvalidRequest);
    }
    let asked = Asked::new(cx, &request);
    let is_final = request.share_session_epoch == FINAL_EPOCH;
    let wanted = enter_session(cx, &session, request.share_session_epoch, &asked)?;
    let acknowledged = broker.share.acknowledge(broker, &session, asked.acknowledged).await;
    if is_final {
        let mut outcomes = acknowledged;
        for (partition, outcome) in broker.share.end_session(&session).await.unwrap_or_default() {
            if !outcomes.iter().any(|(known, _)| *known == partition) && outcome.is_err() {
                outcomes.push((partition, outcome));
            }
        }
        return Ok(Answer::default().respond(broker, outcomes));
    }
    let mut answer = Answer { news: wanted.news, ..Answer::default() };
    let (allowed, denied): (Vec<_>, Vec<_>) =
        wanted.partitions.into_iter().partition(|partition| may_read(cx, partition.0));
    answer.denied = denied;
    if !is_renewal {
        // Who waits for the word on its acknowledgements does not wait for records.
        let quota_bytes_max = cx.fetch_bytes_max().unwrap_or(usize::MAX);
        let max_wait_ms = if acknowledged.is_empty() { request.max_wait_ms.max(0) as u64 } else { 0 };
        let query = Query {
            session: session.clone(),
            mode: if request.share_acquire_mode == 1 {
                AcquireMode::RecordLimit
            } else {
                AcquireMode::BatchOptimized
            },
            records_max: request.max_records,
            batch_size: request.batch_size,
            bytes_min: usize::try_from(request.min_bytes).unwrap_or(0).min(quota_bytes_max),
            bytes_max: usize::try_from(request.max_bytes)
                .unwrap_or(0)
                .min(broker.config.settings.fetch_bytes_max)
                .min(quota_bytes_max),
            deadline: Instant::now() + Duration::from_millis(max_wait_ms),
            settings,
        };
        let fetched = query.run(broker, &allowed).await;
        answer.throttle_time_ms = count(cx, &allowed, &fetched);
        answer.fetched = allowed.into_iter().zip(fetched).collect();
    }
    broker.share.sessions.lock().told_errors(&session, &answer.errors());
    Ok(answer.respond(broker, acknowledged))
}

/// Counts what a member gets, and answers for how long it shall rest. It gets it all the same: what it has acquired is
/// locked for it, and would be delivered once less if it never came (Kafka lets it be, and leaves the answer empty).
fn count(cx: &Context, partitions: &[SessionPartition], fetched: &[Fetched]) -> i32 {
    for (partition, fetched) in
        partitions.iter().zip(fetched).filter(|(_, fetched)| !fetched.records.is_empty())
    {
        if let Ok(partition) = cx.broker.partitions.by_id(partition.0, partition.1) {
            partition.stats.bytes_out.fetch_add(fetched.records.len() as u64, Ordering::Relaxed);
        }
    }
    let bytes: usize = fetched.iter().map(|fetched| fetched.records.len()).sum();
    if bytes > 0 { cx.charge(Kind::Fetch, bytes as f64) } else { 0 }
}

/// Who asks, once it may.
pub(super) fn session_key(
    cx: &Context,
    group: Option<Str>,
    member: Option<Str>,
) -> Result<SessionKey, ErrorCode> {
    if !features::is_enabled(&cx.broker, features::SHARE_VERSION) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let (group, member) = (group.unwrap_or_default(), member.unwrap_or_default());
    if !cx.allows(Operation::Read, Resource::Group(&group)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    if group.is_empty() || member.is_empty() || member.len() > MEMBER_ID_BYTES_MAX {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(SessionKey { group: group.detached(), member: member.detached() })
}

/// Whether the client may read a topic. One that is not there is not forbidden.
pub(super) fn may_read(cx: &Context, topic: TopicId) -> bool {
    let image = cx.broker.image();
    image
        .topic_by_id(topic)
        .is_none_or(|topic| cx.allows(Operation::Read, Resource::Topic(topic.name.as_str())))
}

/// What a request says of partitions.
struct Asked {
    partitions: Vec<SessionPartition>,
    forgotten: Vec<SessionPartition>,
    acknowledged: super::share_acknowledge::Acknowledged,
}

impl Asked {
    fn new(cx: &Context, request: &ShareFetchRequest) -> Self {
        let mut asked = Self { partitions: Vec::new(), forgotten: Vec::new(), acknowledged: Vec::new() };
        for topic in &request.topics {
            let id = TopicId(topic.topic_id);
            let mut access = None;
            for partition in &topic.partitions {
                asked.partitions.push((id, partition.partition_index));
                if partition.acknowledgement_batches.is_empty() {
                    continue;
                }
                let batches = match *access.get_or_insert_with(|| may_read(cx, id)) {
                    true => acknowledgements(&partition.acknowledgement_batches, request.is_renew_ack),
                    false => Err(ErrorCode::TopicAuthorizationFailed),
                };
                asked.acknowledged.push(((id, partition.partition_index), batches));
            }
        }
        let forgotten = request.forgotten_topics_data.iter();
        asked.forgotten = forgotten
            .flat_map(|topic| topic.partitions.iter().map(|partition| (TopicId(topic.topic_id), *partition)))
            .collect();
        asked
    }
}

/// Opens the member's session, or goes on with it.
fn enter_session(cx: &Context, key: &SessionKey, epoch: i32, asked: &Asked) -> Result<Wanted, ErrorCode> {
    let share = &cx.broker.share;
    match epoch {
        FINAL_EPOCH if share.sessions.lock().contains(key) => {
            Ok(Wanted { partitions: Vec::new(), news: HashSet::new() })
        }
        FINAL_EPOCH => Err(ErrorCode::ShareSessionNotFound),
        INITIAL_EPOCH if !asked.acknowledged.is_empty() => Err(ErrorCode::InvalidRequest),
        INITIAL_EPOCH => {
            let mut sessions = share.sessions.lock();
            // What the member holds from an earlier session it keeps.
            sessions.close(key);
            sessions.open(key.clone(), &asked.partitions, cx.peer.connection)
        }
        epoch => share.sessions.lock().update(key, epoch, &asked.partitions, &asked.forgotten),
    }
}

/// What goes into the answer.
#[derive(Default)]
struct Answer {
    /// Partitions that are named whatever happens.
    news: HashSet<SessionPartition>,
    denied: Vec<SessionPartition>,
    fetched: Vec<(SessionPartition, Fetched)>,
    throttle_time_ms: i32,
}

impl Answer {
    fn errors(&self) -> HashSet<SessionPartition> {
        let failed = self.fetched.iter().filter(|(_, fetched)| fetched.error.is_some());
        failed.map(|(partition, _)| *partition).chain(self.denied.iter().copied()).collect()
    }

    fn respond(self, broker: &Arc<Broker>, acknowledged: Outcomes) -> ShareFetchResponse {
        let mut topics = Topics::default();
        for ((topic, index), outcome) in acknowledged {
            let data = topics.at(broker, topic, index);
            if let Err(Failure { code, message }) = outcome {
                data.acknowledge_error_code = code.into();
                data.acknowledge_error_message = message;
            }
        }
        for (topic, index) in self.denied {
            topics.at(broker, topic, index).error_code = ErrorCode::TopicAuthorizationFailed.into();
        }
        for (partition, fetched) in self.fetched {
            let Fetched { error, records, acquired } = fetched;
            if error.is_none() && acquired.is_empty() && !self.news.contains(&partition) {
                continue;
            }
            let data = topics.at(broker, partition.0, partition.1);
            data.error_code = error.unwrap_or(ErrorCode::None).into();
            data.records = Some(Records::Bytes(records));
            let acquired = acquired.iter().map(|acquired| AcquiredRecords {
                first_offset: acquired.first_offset,
                last_offset: acquired.last_offset,
                delivery_count: acquired.delivery_count,
                ..Default::default()
            });
            data.acquired_records = acquired.collect();
        }
        let throttle_time_ms = self.throttle_time_ms;
        ShareFetchResponse { responses: topics.list, throttle_time_ms, ..Default::default() }
    }
}

/// The answer's topics, in the order in which they were first named.
#[derive(Default)]
struct Topics {
    list: Vec<ShareFetchableTopicResponse>,
    places: HashMap<SessionPartition, (usize, usize)>,
    topics: HashMap<TopicId, usize>,
}

impl Topics {
    /// What is said of a partition so far.
    fn at(&mut self, broker: &Broker, topic: TopicId, index: i32) -> &mut PartitionData {
        let list = &mut self.list;
        let at = *self.topics.entry(topic).or_insert_with(|| {
            list.push(ShareFetchableTopicResponse { topic_id: topic.0, ..Default::default() });
            list.len() - 1
        });
        let partitions = &mut list[at].partitions;
        let (_, place) = *self.places.entry((topic, index)).or_insert_with(|| {
            let (leader_id, leader_epoch) = leader(broker, topic, index);
            partitions.push(PartitionData {
                partition_index: index,
                current_leader: LeaderIdAndEpoch { leader_id, leader_epoch, ..Default::default() },
                records: Some(Records::Bytes(bytes::Bytes::new())),
                ..Default::default()
            });
            (at, partitions.len() - 1)
        });
        &mut partitions[place]
    }
}

/// Who leads a partition, where that is not this broker: the client is to go there. Otherwise nothing is said.
pub(super) fn leader(broker: &Broker, topic: TopicId, index: i32) -> (i32, i32) {
    let image = broker.image();
    let state = image.topic_by_id(topic).and_then(|topic| topic.partitions.get(usize::try_from(index).ok()?));
    match state.and_then(|state| Some((state.leader?, state.leader_epoch.0))) {
        Some((leader, epoch)) if leader != broker.node_id => (leader, epoch),
        _ => (0, 0),
    }
}
