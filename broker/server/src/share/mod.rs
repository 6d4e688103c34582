//! Share groups' data path (KIP-932): share partitions as this broker leads them, and the sessions of their members.
//!
//! ```text
//!  ShareFetch ─▶ session ─▶ fetch: log or archive ─▶ Shared (SharePartition, sans-IO) ─▶ acquired records
//!  ShareAcknowledge ──────────────────────────────▶    │
//!                                                      ├ task: locks that run out, writes one after the other
//!                                                      └─▶ share coordinator (`__share_group_state`)
//! ```
//!
//! A share partition is loaded when a member first fetches from it, and forgotten when nobody has done so for a while,
//! or when its state was made anew (offsets altered or deleted).

mod acknowledge;
mod dead_letters;
mod fetch;
mod members;
mod partition;
mod persister;
mod read;
mod settings;
pub(crate) mod upkeep;
mod waiting;

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use parking_lot::Mutex;
use strata_coordinator::share::partition::AcknowledgementBatch;
use strata_coordinator::share::persister::SharePartitionKey;
use strata_coordinator::share::sessions::{SessionKey, SessionPartition, ShareSessions};
use strata_protocol::Str;
use strata_types::{ErrorCode, TopicId};

use crate::broker::Broker;

pub(crate) use acknowledge::acknowledgements;
pub(crate) use fetch::{Fetched, Query};
pub(crate) use members::{act, delete_state};
pub(crate) use partition::{Failure, Shared};
pub(crate) use persister::{ask, summary};
pub(crate) use settings::ShareSettings;
pub(crate) use strata_coordinator::share::persister::{PersisterError, ReadState};

/// Share partitions that may be in memory; beyond, a fetch of another one is told to come back.
const SHARE_PARTITIONS_MAX: usize = 100_000;
/// Partitions of all sessions together.
const SESSION_PARTITIONS_MAX: usize = 1_000_000;

/// What this broker has of share groups.
pub(crate) struct ShareGroups {
    pub sessions: Mutex<ShareSessions>,
    partitions: Mutex<HashMap<SharePartitionKey, Arc<Shared>>>,
}

/// What became of acknowledgements, by partition.
pub(crate) type Outcomes = Vec<(SessionPartition, Result<(), Failure>)>;

impl ShareGroups {
    pub(crate) fn new(sessions_max: usize) -> Self {
        Self {
            sessions: Mutex::new(ShareSessions::new(sessions_max, SESSION_PARTITIONS_MAX)),
            partitions: Mutex::default(),
        }
    }

    /// A share partition, loaded if it was not.
    async fn partition(
        &self,
        broker: &Arc<Broker>,
        group: &Str,
        (topic, index): SessionPartition,
    ) -> Result<Arc<Shared>, ErrorCode> {
        let partition = broker.partitions.by_id(topic, index)?;
        let key = key(group, (topic, index));
        let shared = {
            let mut partitions = self.partitions.lock();
            match partitions.get(&key).filter(|shared| shared.is_of(&partition)) {
                Some(shared) => shared.clone(),
                None if partitions.len() >= SHARE_PARTITIONS_MAX => {
                    return Err(ErrorCode::CoordinatorNotAvailable);
                }
                None => {
                    let shared = Shared::new(SharePartitionKey { group: group.detached(), ..key }, partition);
                    if let Some(old) = partitions.insert(shared.key.clone(), shared.clone()) {
                        old.end();
                    }
                    shared
                }
            }
        };
        if let Err(code) = shared.load(broker).await {
            self.forget(&shared);
            return Err(code);
        }
        Ok(shared)
    }

    /// Takes members' word on records that they acquired.
    pub(crate) async fn acknowledge(
        &self,
        broker: &Arc<Broker>,
        session: &SessionKey,
        said: Vec<(SessionPartition, Result<Vec<AcknowledgementBatch>, ErrorCode>)>,
    ) -> Outcomes {
        let limits = ShareSettings::of(broker, &session.group).limits;
        let outcomes = said.into_iter().map(|(partition, batches)| {
            let key = key(&session.group, partition);
            let shared = self.partitions.lock().get(&key).cloned();
            let taken = batches.map_err(Failure::from).and_then(|batches| {
                let known = broker.partitions.by_id(partition.0, partition.1).map_err(Failure::from);
                known.and_then(|_| {
                    let shared = shared.ok_or(ErrorCode::UnknownTopicOrPartition)?;
                    let stored = shared.acknowledge(limits, &session.member, &batches)?;
                    broker.metrics.acknowledged(&batches);
                    Ok(stored)
                })
            });
            async move {
                match taken {
                    Ok(stored) => (partition, stored.outcome().await),
                    Err(failure) => (partition, Err(failure)),
                }
            }
        });
        join_all(outcomes.collect::<Vec<_>>()).await
    }

    /// Ends a session: what its member has acquired is free again. `None`: there is none.
    pub(crate) async fn end_session(&self, session: &SessionKey) -> Option<Outcomes> {
        let released = self.release_session(session)?;
        let outcomes = released.into_iter().map(|(partition, released)| async move {
            match released {
                Ok(stored) => (partition, stored.outcome().await),
                Err(failure) => (partition, Err(failure)),
            }
        });
        Some(join_all(outcomes).await)
    }

    fn release_session(
        &self,
        session: &SessionKey,
    ) -> Option<Vec<(SessionPartition, Result<partition::Stored, Failure>)>> {
        let partitions = self.sessions.lock().close(session)?;
        let shared = self.partitions.lock();
        let released = partitions.into_iter().filter_map(|partition| {
            let shared = shared.get(&key(&session.group, partition))?;
            Some((partition, shared.release(&session.member)))
        });
        Some(released.collect())
    }

    /// How many records are in flight, of so many share partitions.
    pub(crate) fn in_flight(&self, partitions_max: usize) -> Vec<(SharePartitionKey, i64)> {
        let partitions = self.partitions.lock();
        let counted = partitions.values().take(partitions_max);
        counted
            .filter_map(|shared| Some((shared.key.clone(), shared.with(|core| core.in_flight_count())?)))
            .collect()
    }

    /// A connection is gone, and with it the members that came by it.
    pub(crate) fn disconnected(&self, connection: u64) {
        let sessions = self.sessions.lock().of_connection(connection);
        for session in sessions {
            self.release_session(&session);
        }
    }

    /// A member has left its group, or was put out of it.
    pub(crate) fn member_left(&self, group: &str, member: &str) {
        let sessions = self.sessions.lock().of_group(group, Some(member));
        for session in sessions {
            self.release_session(&session);
        }
    }

    /// The state that is stored of a share partition was made anew: what is in memory counts no more.
    pub(crate) fn reset(&self, key: &SharePartitionKey) {
        if let Some(shared) = self.partitions.lock().remove(key) {
            shared.end();
        }
    }

    /// Forgets a share partition, unless another one has taken its place.
    fn forget(&self, shared: &Arc<Shared>) {
        let mut partitions = self.partitions.lock();
        if partitions.get(&shared.key).is_some_and(|known| Arc::ptr_eq(known, shared)) {
            partitions.remove(&shared.key);
        }
        shared.end();
    }
}

/// The key of a share partition.
pub(crate) fn key(group: &Str, (topic, partition): (TopicId, i32)) -> SharePartitionKey {
    SharePartitionKey { group: group.clone(), topic_id: topic.0, partition }
}
