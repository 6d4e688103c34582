//! Reading records: from partitions that are assigned by hand, or shared out within a group.
//!
//! ```text
//! poll --> [group: join, revoke, assign] --> [positions] --> [records fetched ahead] --> application
//!                |                               |                  ^
//!             Joining                    resolve: committed,      fetch: one a node at a time
//!             Membership (heartbeats)    earliest, latest
//! ```
//!
//! Nothing happens to a consumer's partitions behind its back: whatever tasks find out is taken in by the next poll.
//! A poll may be dropped at any time without losing a record.

mod assignor;
mod commit;
mod fetch;
mod group;
mod partitions;
mod poll;
mod protocol;
mod resolve;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_protocol::Str;
use strata_protocol::records::Header;
use strata_types::{LeaderEpoch, NodeId, Offset, PartitionId, TimestampMs, TopicName, TopicPartition};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::client::Client;
use crate::error::{ClientError, Result};
use crate::list_offsets::OffsetSpec;
use crate::offsets::{self, Member};
use commit::Commits;
use group::Membership;
use partitions::{Partitions, Position};
use poll::Arrival;

pub use assignor::Assignor;

/// Where a partition without a committed offset is read from, or one whose offset is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoOffsetReset {
    Earliest,
    Latest,
    /// Polling fails.
    None,
}

/// The names follow Kafka's.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// Needed for subscribing and committing.
    pub group_id: Option<String>,
    /// A name that outlives restarts, so that they cost no rebalance (KIP-345).
    pub group_instance_id: Option<String>,
    /// In order of preference. Either all of them are cooperative or none.
    pub assignors: Vec<Assignor>,
    pub auto_offset_reset: AutoOffsetReset,
    /// Leaves out the records of open and of aborted transactions.
    pub read_committed: bool,
    pub enable_auto_commit: bool,
    pub auto_commit_interval_ms: u64,
    /// How many records one poll gives at most.
    pub poll_records_max: usize,
    /// How long a member may take between two polls before it is out of the group.
    pub poll_interval_ms_max: u64,
    pub session_timeout_ms: u64,
    pub heartbeat_interval_ms: u64,
    /// How many bytes a broker waits for, and how long.
    pub fetch_bytes_min: i32,
    pub fetch_wait_ms_max: i32,
    /// How many bytes one fetch takes at most, of all partitions and of each. One batch comes whole, however large.
    pub fetch_bytes_max: i32,
    pub partition_fetch_bytes_max: i32,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            group_id: None,
            group_instance_id: None,
            assignors: vec![Assignor::Range],
            auto_offset_reset: AutoOffsetReset::Latest,
            read_committed: false,
            enable_auto_commit: true,
            auto_commit_interval_ms: 5_000,
            poll_records_max: 500,
            poll_interval_ms_max: 300_000,
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 3_000,
            fetch_bytes_min: 1,
            fetch_wait_ms_max: 500,
            fetch_bytes_max: 50 * 1024 * 1024,
            partition_fetch_bytes_max: 1024 * 1024,
        }
    }
}

impl ConsumerOptions {
    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(ClientError::Options(what.into()));
        if self.assignors.is_empty() {
            return wrong("assignors may not be empty");
        }
        if self.assignors.iter().any(|a| a.is_cooperative() != self.assignors[0].is_cooperative()) {
            return wrong("assignors must all be cooperative, or none of them");
        }
        if self.poll_records_max == 0 {
            return wrong("poll_records_max may not be 0");
        }
        if self.heartbeat_interval_ms >= self.session_timeout_ms {
            return wrong("heartbeat_interval_ms must be less than session_timeout_ms");
        }
        Ok(())
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerRecord {
    pub topic: TopicName,
    pub partition: PartitionId,
    pub offset: Offset,
    pub timestamp: TimestampMs,
    pub leader_epoch: LeaderEpoch,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// What a poll has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsumerEvent {
    /// At least one.
    Records(Vec<ConsumerRecord>),
    /// These are still ours until the next poll, and go to someone else then: commit now.
    Revoked(Vec<TopicPartition>),
    /// These may be someone else's already: it is too late to commit.
    Lost(Vec<TopicPartition>),
    /// These are new.
    Assigned(Vec<TopicPartition>),
}

/// Where to go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    Offset(Offset),
    Earliest,
    Latest,
    /// The first record of this time or later; the end, if there is none.
    Timestamp(TimestampMs),
}

/// Reads records. To be closed, so that its group need not wait for the session to end.
pub struct Consumer {
    /// Offsets, heartbeats and everything else that must not wait.
    client: Client,
    /// Fetches, which wait for records.
    fetches: Client,
    /// Joins, which wait for other members.
    joins: Client,
    options: Arc<ConsumerOptions>,
    mode: Mode,
    partitions: Partitions,
    events: VecDeque<ConsumerEvent>,
    group: Group,
    /// What tasks have found out. Bounded by how many there may be: one for each node, topic and kind.
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    arrive: mpsc::UnboundedSender<Arrival>,
    busy_nodes: HashSet<NodeId>,
    looking_for: HashSet<TopicName>,
    is_resolving: bool,
    commits: Commits,
    commit_at: Instant,
}

enum Mode {
    Nothing,
    Assigned,
    Subscribed(Vec<TopicName>),
}

/// Where the consumer stands with its group.
#[derive(Default)]
struct Group {
    member: Member,
    membership: Option<Membership>,
    is_joining: bool,
    /// The application has been told that everything is revoked, and may have committed.
    has_announced: bool,
    /// The assignment that takes effect once the application has been told what it loses.
    announced: Option<Vec<TopicPartition>>,
}

impl Consumer {
    /// A consumer with connections of its own.
    pub fn new(client: &Client, options: ConsumerOptions) -> Result<Self> {
        options.check()?;
        let (arrive, arrivals) = mpsc::unbounded_channel();
        let member = Member {
            group_instance_id: options.group_instance_id.as_ref().map(Str::from),
            ..Member::default()
        };
        let commit_at = Instant::now() + Duration::from_millis(options.auto_commit_interval_ms);
        Ok(Self {
            client: client.fork(),
            fetches: client.fork(),
            joins: client.fork(),
            options: Arc::new(options),
            mode: Mode::Nothing,
            partitions: Partitions::default(),
            events: VecDeque::new(),
            group: Group { member, ..Group::default() },
            arrivals,
            arrive,
            busy_nodes: HashSet::new(),
            looking_for: HashSet::new(),
            is_resolving: false,
            commits: Commits::default(),
            commit_at,
        })
    }

    /// Reads these partitions, without a group's sharing out. Replaces what was assigned before; those that stay keep
    /// their positions.
    ///
    /// # Errors
    /// When the consumer is subscribed.
    pub fn assign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        if matches!(self.mode, Mode::Subscribed(_)) {
            return Err(ClientError::Options("a consumer either subscribes or is assigned".into()));
        }
        self.mode = Mode::Assigned;
        self.partitions.set(partitions);
        Ok(())
    }

    /// Joins the group at the next poll, for these topics. Topics may be created later.
    ///
    /// # Errors
    /// Without a `group_id`, or when the consumer has been assigned partitions.
    pub fn subscribe(&mut self, topics: &[TopicName]) -> Result<()> {
        if matches!(self.mode, Mode::Assigned) {
            return Err(ClientError::Options("a consumer either subscribes or is assigned".into()));
        }
        self.group_id()?;
        self.mode = Mode::Subscribed(topics.to_vec());
        if let Some(membership) = &self.group.membership {
            membership.rejoin();
        }
        Ok(())
    }

    fn group_id(&self) -> Result<&str> {
        self.options.group_id.as_deref().ok_or_else(|| ClientError::Options("this needs a group_id".into()))
    }

    /// The partitions that are read now, sorted.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.partitions.all()
    }

    /// Goes on elsewhere in an assigned partition.
    pub fn seek(&mut self, partition: &TopicPartition, to: SeekTo) -> Result<()> {
        let position = match to {
            SeekTo::Offset(offset) => Position::At(offset),
            SeekTo::Earliest => Position::Seek(OffsetSpec::Earliest),
            SeekTo::Latest => Position::Seek(OffsetSpec::Latest),
            SeekTo::Timestamp(timestamp) => Position::Seek(OffsetSpec::Timestamp(timestamp)),
        };
        self.state_of(partition)?.seek(position);
        Ok(())
    }

    /// Gives no records of a partition until it is resumed.
    pub fn pause(&mut self, partition: &TopicPartition) -> Result<()> {
        self.state_of(partition)?.is_paused = true;
        Ok(())
    }

    pub fn resume(&mut self, partition: &TopicPartition) -> Result<()> {
        self.state_of(partition)?.is_paused = false;
        Ok(())
    }

    fn state_of(&mut self, partition: &TopicPartition) -> Result<&mut partitions::PartitionState> {
        let unknown = || ClientError::Options(format!("{partition} is not assigned"));
        self.partitions.get_mut(partition).ok_or_else(unknown)
    }

    /// The offset of the next record of a partition; `None` before it is known.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        match self.partitions.get(partition)?.position {
            Position::At(offset) => Some(offset),
            _ => None,
        }
    }

    /// The offsets of the next records of all partitions.
    pub fn positions(&self) -> HashMap<TopicPartition, Offset> {
        self.partitions.positions()
    }

    /// Commits where the application is: behind everything that it was given.
    pub async fn commit(&self) -> Result<()> {
        let positions = self.positions();
        self.commit_offsets(&positions).await
    }

    /// Commits these offsets: those of the next records to read.
    ///
    /// # Errors
    /// ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID or REBALANCE_IN_PROGRESS when the group has moved on.
    pub async fn commit_offsets(&self, offsets: &HashMap<TopicPartition, Offset>) -> Result<()> {
        let group = self.group_id()?;
        self.commits.ask(&self.client, group, &self.group.member, offsets.clone()).run().await
    }

    /// What the group has committed; partitions without an offset are left out.
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<HashMap<TopicPartition, Offset>> {
        let committed = offsets::fetch(&self.client, self.group_id()?, Some(partitions), None).await?;
        Ok(committed.into_iter().map(|(partition, committed)| (partition, committed.offset)).collect())
    }

    /// Commits if that is automatic, leaves the group, and closes the connections.
    pub async fn close(mut self) -> Result<()> {
        let mut outcome = Ok(());
        if self.commits_by_itself() {
            outcome = self.commit().await;
        }
        if let (Some(group), Some(membership)) = (&self.options.group_id, self.group.membership.take()) {
            outcome = outcome.and(group::leave(&self.client, group, &membership.member).await);
        }
        for client in [&self.joins, &self.fetches, &self.client] {
            client.close().await;
        }
        outcome
    }

    fn commits_by_itself(&self) -> bool {
        self.options.enable_auto_commit && self.options.group_id.is_some()
    }
}
