//! Fetch sessions (KIP-227): a client that follows many partitions names them once, and afterwards only what changes.
//!
//! ```text
//! session 0, epoch -1  everything, no session      │ session n, epoch -1  close it; everything
//! session *, epoch  0  everything, a new session   │ session n, epoch  k  what changed since epoch k-1
//! ```
//!
//! The cache holds `max.incremental.fetch.session.cache.slots`; a new session pushes out one that has been quiet for two
//! minutes, or else the client goes without, which costs it nothing but bytes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strata_protocol::Str;
use strata_protocol::messages::FetchRequest;
use strata_protocol::messages::fetch_request::FetchPartition;
use strata_types::{ErrorCode, Offset, TopicId};

/// A session may be pushed out after this long without a request.
const QUIET: Duration = Duration::from_secs(120);
/// Partitions of all sessions together; a session that would pass it is not kept.
const PARTITIONS_MAX: usize = 1_000_000;

const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;

/// A topic as a request names it: by id from v13, by name before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TopicKey {
    Name(Str),
    Id(TopicId),
}

/// One partition that a fetch asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub topic: TopicKey,
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub from: Offset,
    pub bytes_max: usize,
}

/// What a client was last told of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub high_watermark: i64,
    pub log_start_offset: i64,
}

struct Entry {
    wanted: Wanted,
    told: Option<Told>,
}

/// A session's partitions.
struct Session {
    by_id: bool,
    /// The epoch of the next request.
    epoch: i32,
    entries: Vec<Entry>,
    places: HashMap<(TopicKey, i32), usize>,
    /// Where the next answer starts, so that a busy partition does not starve those behind it.
    first: usize,
    used: Instant,
}

/// What a request turned out to want, and where its session is kept.
pub(crate) struct Resolved {
    pub wanted: Vec<Wanted>,
    pub session: Option<Handle>,
    /// Whether partitions without news are left out of the answer.
    incremental: bool,
    told: Vec<Option<Told>>,
}

/// A session in the cache.
#[derive(Clone)]
pub(crate) struct Handle {
    pub id: i32,
    session: Arc<Mutex<Session>>,
}

/// The cache.
pub(crate) struct FetchSessions {
    slots_max: usize,
    sessions: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
    ids: Mutex<i32>,
}

impl FetchSessions {
    pub(crate) fn new(slots_max: usize) -> Self {
        Self { slots_max, sessions: Mutex::default(), ids: Mutex::new(0) }
    }

    /// What the request wants, by itself or with what its session remembers.
    pub(crate) fn resolve(&self, request: FetchRequest, version: i16) -> Result<Resolved, ErrorCode> {
        let by_id = version >= 13;
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            if id != 0 {
                self.sessions.lock().remove(&id);
            }
            let wanted: Vec<Wanted> = wanted(&request, by_id).collect();
            let session =
                (epoch == INITIAL_EPOCH && !wanted.is_empty()).then(|| self.open(by_id, &wanted)).flatten();
            return Ok(Resolved { told: vec![None; wanted.len()], wanted, session, incremental: false });
        }
        let session = self.sessions.lock().get(&id).cloned().ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let mut kept = session.lock();
        if kept.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if kept.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        kept.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        kept.used = Instant::now();
        for forgotten in &request.forgotten_topics_data {
            let topic = key(by_id, &forgotten.topic, forgotten.topic_id);
            forgotten.partitions.iter().for_each(|partition| kept.forget(&(topic.clone(), *partition)));
        }
        wanted(&request, by_id).for_each(|wanted| kept.want(wanted.detached()));
        let (wanted, told) = kept.in_turn().map(|entry| (entry.wanted.clone(), entry.told)).unzip();
        drop(kept);
        Ok(Resolved { wanted, told, session: Some(Handle { id, session }), incremental: true })
    }

    fn open(&self, by_id: bool, wanted: &[Wanted]) -> Option<Handle> {
        let mut sessions = self.sessions.lock();
        let total: usize = sessions.values().map(|session| session.lock().entries.len()).sum();
        if total + wanted.len() > PARTITIONS_MAX {
            return None;
        }
        if sessions.len() >= self.slots_max {
            let oldest = sessions.iter().map(|(id, session)| (session.lock().used, *id)).min()?;
            if oldest.0.elapsed() < QUIET {
                return None;
            }
            sessions.remove(&oldest.1);
        }
        let mut session = Session {
            by_id,
            epoch: 1,
            entries: Vec::new(),
            places: HashMap::new(),
            first: 0,
            used: Instant::now(),
        };
        wanted.iter().for_each(|wanted| session.want(wanted.clone().detached()));
        let id = self.free_id(&sessions);
        let session = Arc::new(Mutex::new(session));
        sessions.insert(id, session.clone());
        Some(Handle { id, session })
    }

    fn free_id(&self, sessions: &HashMap<i32, Arc<Mutex<Session>>>) -> i32 {
        let mut last = self.ids.lock();
        loop {
            *last = if *last == i32::MAX { 1 } else { *last + 1 };
            if !sessions.contains_key(&last) {
                return *last;
            }
        }
    }
}

impl Resolved {
    /// Notes what the answer says of the partition at `index` of `wanted`, and tells whether it must say it at all:
    /// `news` says that there are records or an error. To be called once for each partition, when the answer goes out.
    pub(crate) fn tell(&self, index: usize, told: Option<Told>, news: bool, has_records: bool) -> bool {
        let Some(handle) = &self.session else { return true };
        let wanted = &self.wanted[index];
        let mut session = handle.session.lock();
        if let Some(&place) = session.places.get(&(wanted.topic.clone(), wanted.partition)) {
            session.entries[place].told = told;
            if has_records {
                session.first = place + 1;
            }
        }
        !self.incremental || news || told != self.told[index]
    }

    /// The id that the answer carries; 0: no session.
    pub(crate) fn session_id(&self) -> i32 {
        self.session.as_ref().map_or(0, |handle| handle.id)
    }
}

impl Session {
    fn want(&mut self, wanted: Wanted) {
        let key = (wanted.topic.clone(), wanted.partition);
        match self.places.get(&key) {
            Some(&place) => self.entries[place].wanted = wanted,
            None => {
                self.places.insert(key, self.entries.len());
                self.entries.push(Entry { wanted, told: None });
            }
        }
    }

    fn forget(&mut self, key: &(TopicKey, i32)) {
        let Some(place) = self.places.remove(key) else { return };
        self.entries.swap_remove(place);
        if let Some(moved) = self.entries.get(place) {
            self.places.insert((moved.wanted.topic.clone(), moved.wanted.partition), place);
        }
    }

    fn in_turn(&self) -> impl Iterator<Item = &Entry> {
        let (before, after) = self.entries.split_at(self.first.min(self.entries.len()));
        after.iter().chain(before)
    }
}

impl Wanted {
    /// For keeping: a name that does not hold on to the request's frame.
    fn detached(mut self) -> Self {
        if let TopicKey::Name(name) = &mut self.topic {
            *name = name.detached();
        }
        self
    }
}

fn key(by_id: bool, name: &Str, id: uuid::Uuid) -> TopicKey {
    if by_id { TopicKey::Id(TopicId(id)) } else { TopicKey::Name(name.clone()) }
}

fn wanted(request: &FetchRequest, by_id: bool) -> impl Iterator<Item = Wanted> {
    request.topics.iter().flat_map(move |topic| {
        let topic_key = key(by_id, &topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |asked: &FetchPartition| Wanted {
            topic: topic_key.clone(),
            partition: asked.partition,
            current_leader_epoch: asked.current_leader_epoch,
            from: Offset(asked.fetch_offset),
            bytes_max: usize::try_from(asked.partition_max_bytes).unwrap_or(0),
        })
    })
}

#[cfg(test)]
mod tests {
    use strata_protocol::messages::fetch_request::{FetchTopic, ForgottenTopic};

    use super::*;

    fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let partitions = partitions.iter().map(|&(partition, fetch_offset)| FetchPartition {
            partition,
            fetch_offset,
            ..Default::default()
        });
        let topics =
            vec![FetchTopic { topic: "t".into(), partitions: partitions.collect(), ..Default::default() }];
        FetchRequest { session_id, session_epoch, topics, ..Default::default() }
    }

    fn offsets(resolved: &Resolved) -> Vec<(i32, i64)> {
        resolved.wanted.iter().map(|w| (w.partition, w.from.0)).collect()
    }

    const TOLD: Option<Told> = Some(Told { high_watermark: 5, log_start_offset: 0 });

    #[test]
    fn a_session_remembers_what_was_asked() {
        let sessions = FetchSessions::new(10);
        let first = sessions.resolve(request(0, 0, &[(0, 1), (1, 2)]), 12).unwrap();
        let id = first.session_id();
        assert!(id != 0 && first.tell(0, TOLD, false, false), "a full answer names every partition");
        let second = sessions.resolve(request(id, 1, &[(1, 7)]), 12).unwrap();
        assert_eq!(offsets(&second), [(0, 1), (1, 7)]);
        assert!(!second.tell(0, TOLD, false, false), "no news");
        assert!(second.tell(0, None, true, false), "an error is news");
        let forget = FetchRequest {
            forgotten_topics_data: vec![ForgottenTopic {
                topic: "t".into(),
                partitions: vec![0],
                ..Default::default()
            }],
            ..request(id, 2, &[])
        };
        assert_eq!(offsets(&sessions.resolve(forget, 12).unwrap()), [(1, 7)]);
    }

    #[test]
    fn a_busy_partition_goes_to_the_end_of_the_queue() {
        let sessions = FetchSessions::new(10);
        let first = sessions.resolve(request(0, 0, &[(0, 0), (1, 0), (2, 0)]), 12).unwrap();
        first.tell(0, TOLD, true, true);
        let second = sessions.resolve(request(first.session_id(), 1, &[]), 12).unwrap();
        assert_eq!(offsets(&second), [(1, 0), (2, 0), (0, 0)]);
    }

    #[test]
    fn sessions_that_do_not_fit_are_refused_by_kafkas_codes() {
        let sessions = FetchSessions::new(1);
        let id = sessions.resolve(request(0, 0, &[(0, 0)]), 12).unwrap().session_id();
        let code = |id, epoch, version| sessions.resolve(request(id, epoch, &[]), version).err();
        assert_eq!(code(id + 1, 1, 12), Some(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(code(id, 2, 12), Some(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(code(id, 1, 13), Some(ErrorCode::FetchSessionTopicIdError));
        // The cache is full, and its one session is in use.
        assert_eq!(sessions.resolve(request(0, 0, &[(0, 0)]), 12).unwrap().session_id(), 0);
        // Closing makes room.
        assert_eq!(sessions.resolve(request(id, -1, &[(0, 0)]), 12).unwrap().session_id(), 0);
        assert_ne!(sessions.resolve(request(0, 0, &[(0, 0)]), 12).unwrap().session_id(), 0);
    }
}
