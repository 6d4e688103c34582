//! Share sessions: a member names its partitions once, and afterwards only what changes.
//!
//! ```text
//!   epoch 0   a new session, these partitions     epoch k   these more, these no more
//!   epoch -1  the end of the session              (each request has the epoch after the last one's)
//! ```
//!
//! A session belongs to a member of a group, so there is one of each. Records that the member has acquired are released
//! when its session ends, whoever ends it: the member, its connection, or a new session of the same member.

use std::collections::{HashMap, HashSet};

use strata_protocol::Str;
use strata_types::{ErrorCode, PartitionId, TopicId};

/// The epoch of a new session.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch that ends a session.
pub const FINAL_EPOCH: i32 = -1;

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    pub group: Str,
    pub member: Str,
}

/// A partition in a session.
pub type SessionPartition = (TopicId, PartitionId);

#[derive(Debug)]
struct Session {
    /// Of the next request.
    epoch: i32,
    /// In the order in which they were named.
    partitions: Vec<Place>,
    known: HashSet<SessionPartition>,
    /// The connection that it came by.
    connection: u64,
}

#[derive(Debug)]
struct Place {
    partition: SessionPartition,
    /// Whether the next answer says something of it even if there is nothing to say.
    is_news: bool,
}

/// What a request turned out to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// All partitions of the session, another one first each time.
    pub partitions: Vec<SessionPartition>,
    /// Those of them that the answer names whatever happens.
    pub news: HashSet<SessionPartition>,
}

/// All sessions of this broker, up to a limit.
#[derive(Debug)]
pub struct ShareSessions {
    sessions_max: usize,
    partitions_max: usize,
    sessions: HashMap<SessionKey, Session>,
    partitions: usize,
}

impl ShareSessions {
    /// `sessions_max`: `group.share.max.share.sessions`. `partitions_max`: partitions of all sessions together.
    pub fn new(sessions_max: usize, partitions_max: usize) -> Self {
        Self { sessions_max, partitions_max, sessions: HashMap::new(), partitions: 0 }
    }

    /// Opens a session with the first request's partitions. A session that the member had must have been
    /// [closed](Self::close).
    pub fn open(
        &mut self,
        key: SessionKey,
        partitions: &[SessionPartition],
        connection: u64,
    ) -> Result<Wanted, ErrorCode> {
        let is_full = self.sessions.len() >= self.sessions_max
            || self.partitions + partitions.len() > self.partitions_max;
        if is_full {
            return Err(ErrorCode::ShareSessionLimitReached);
        }
        let mut session = Session { epoch: 1, partitions: Vec::new(), known: HashSet::new(), connection };
        session.add(partitions);
        self.partitions += session.partitions.len();
        let wanted = session.wanted(0);
        self.sessions.insert(key, session);
        Ok(wanted)
    }

    /// Goes on with a session: `epoch` is the next one, `added` and `forgotten` are what changes.
    pub fn update(
        &mut self,
        key: &SessionKey,
        epoch: i32,
        added: &[SessionPartition],
        forgotten: &[SessionPartition],
    ) -> Result<Wanted, ErrorCode> {
        let session = self.at(key, epoch)?;
        let before = session.partitions.len();
        session.add(added);
        let forgotten: HashSet<_> = forgotten.iter().collect();
        session.partitions.retain(|place| !forgotten.contains(&place.partition));
        session.known.retain(|partition| !forgotten.contains(partition));
        let after = session.partitions.len();
        let wanted = session.wanted(epoch);
        session.advance();
        self.partitions = (self.partitions + after).saturating_sub(before);
        if self.partitions > self.partitions_max {
            self.close(key);
            return Err(ErrorCode::ShareSessionLimitReached);
        }
        Ok(wanted)
    }

    /// Goes on with a session by a request that fetches nothing (ShareAcknowledge).
    pub fn touch(&mut self, key: &SessionKey, epoch: i32) -> Result<(), ErrorCode> {
        if epoch == INITIAL_EPOCH {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        self.at(key, epoch)?.advance();
        Ok(())
    }

    /// Whether the member has a session.
    pub fn contains(&self, key: &SessionKey) -> bool {
        self.sessions.contains_key(key)
    }

    /// Ends a session. What partitions it had; `None` if there is no such session.
    pub fn close(&mut self, key: &SessionKey) -> Option<Vec<SessionPartition>> {
        let session = self.sessions.remove(key)?;
        self.partitions = self.partitions.saturating_sub(session.partitions.len());
        Some(session.partitions.into_iter().map(|place| place.partition).collect())
    }

    /// The sessions that came by a connection, which is gone now.
    pub fn of_connection(&self, connection: u64) -> Vec<SessionKey> {
        let of = self.sessions.iter().filter(|(_, session)| session.connection == connection);
        of.map(|(key, _)| key.clone()).collect()
    }

    /// The sessions of a group, or of one of its members.
    pub fn of_group(&self, group: &str, member: Option<&str>) -> Vec<SessionKey> {
        let is_asked =
            |key: &&SessionKey| *key.group == *group && member.is_none_or(|member| *key.member == *member);
        self.sessions.keys().filter(is_asked).cloned().collect()
    }

    /// An answer has gone out that told an error of these partitions: that it is over is news again.
    pub fn told_errors(&mut self, key: &SessionKey, partitions: &HashSet<SessionPartition>) {
        let Some(session) = self.sessions.get_mut(key).filter(|_| !partitions.is_empty()) else { return };
        for place in session.partitions.iter_mut().filter(|place| partitions.contains(&place.partition)) {
            place.is_news = true;
        }
    }

    fn at(&mut self, key: &SessionKey, epoch: i32) -> Result<&mut Session, ErrorCode> {
        let session = self.sessions.get_mut(key).ok_or(ErrorCode::ShareSessionNotFound)?;
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        Ok(session)
    }
}

impl Session {
    fn add(&mut self, partitions: &[SessionPartition]) {
        for partition in partitions {
            if self.known.insert(*partition) {
                self.partitions.push(Place { partition: *partition, is_news: true });
            }
        }
    }

    fn advance(&mut self) {
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
    }

    fn wanted(&mut self, epoch: i32) -> Wanted {
        let mut partitions: Vec<_> = self.partitions.iter().map(|place| place.partition).collect();
        if !partitions.is_empty() {
            let first = epoch.unsigned_abs() as usize % partitions.len();
            partitions.rotate_left(first);
        }
        let news =
            self.partitions.iter().filter(|place| place.is_news).map(|place| place.partition).collect();
        self.partitions.iter_mut().for_each(|place| place.is_news = false);
        Wanted { partitions, news }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(member: &str) -> SessionKey {
        SessionKey { group: "g".into(), member: member.into() }
    }

    fn partitions(indexes: &[i32]) -> Vec<SessionPartition> {
        indexes.iter().map(|index| (TopicId(Uuid::from_u128(1)), *index)).collect()
    }

    fn indexes(wanted: &Wanted) -> Vec<i32> {
        wanted.partitions.iter().map(|(_, index)| *index).collect()
    }

    #[test]
    fn a_session_remembers_its_partitions_and_takes_turns() {
        let mut sessions = ShareSessions::new(10, 100);
        let opened = sessions.open(key("m"), &partitions(&[0, 1, 2]), 1).unwrap();
        assert_eq!(indexes(&opened), [0, 1, 2]);
        assert_eq!(opened.news.len(), 3);
        let next = sessions.update(&key("m"), 1, &[], &[]).unwrap();
        assert_eq!(indexes(&next), [1, 2, 0]);
        assert!(next.news.is_empty());
        let next = sessions.update(&key("m"), 2, &partitions(&[3]), &partitions(&[0, 9])).unwrap();
        assert_eq!(indexes(&next), [3, 1, 2]);
        assert_eq!(next.news, partitions(&[3]).into_iter().collect());
        sessions.told_errors(&key("m"), &partitions(&[2]).into_iter().collect());
        assert_eq!(
            sessions.update(&key("m"), 3, &[], &[]).unwrap().news,
            partitions(&[2]).into_iter().collect()
        );
    }

    #[test]
    fn epochs_follow_one_another() {
        let mut sessions = ShareSessions::new(10, 100);
        assert_eq!(sessions.update(&key("m"), 1, &[], &[]), Err(ErrorCode::ShareSessionNotFound));
        sessions.open(key("m"), &[], 1).unwrap();
        assert_eq!(sessions.touch(&key("m"), 0), Err(ErrorCode::InvalidShareSessionEpoch));
        assert_eq!(sessions.touch(&key("m"), 1), Ok(()));
        assert_eq!(sessions.update(&key("m"), 1, &[], &[]).err(), Some(ErrorCode::InvalidShareSessionEpoch));
        assert!(sessions.update(&key("m"), 2, &[], &[]).is_ok());
    }

    #[test]
    fn sessions_and_their_partitions_are_bounded() {
        let mut sessions = ShareSessions::new(2, 3);
        sessions.open(key("a"), &partitions(&[0, 1]), 1).unwrap();
        let refused = Err(ErrorCode::ShareSessionLimitReached);
        assert_eq!(sessions.open(key("b"), &partitions(&[0, 1]), 1), refused);
        sessions.open(key("b"), &partitions(&[0]), 2).unwrap();
        assert_eq!(sessions.open(key("c"), &[], 1), refused);
        assert_eq!(sessions.of_connection(2), [key("b")]);
        assert_eq!(sessions.close(&key("a")), Some(partitions(&[0, 1])));
        assert_eq!(sessions.close(&key("a")), None);
        sessions.open(key("c"), &partitions(&[5, 6]), 1).unwrap();
        assert_eq!(sessions.update(&key("b"), 1, &partitions(&[1, 2]), &[]), refused);
        assert!(!sessions.contains(&key("b")), "a session that grew too large is over");
    }
}
