//! What a group is: one of four types, each with rules of its own, and what is asked of every type.
//!
//! A type lives in a folder beside this file. To the rest of the shard it is what [`GroupType`] says; what the modern
//! types have in common is in [`modern`](super::modern).

use strata_protocol::Str;
use strata_types::{ErrorCode, TimestampMs};

use super::GroupOutcome;
use super::classic::ClassicGroup;
use super::consumer::ConsumerGroup;
use super::share::ShareGroup;
use super::streams::StreamsGroup;

/// The one place where a group's type is decided.
#[derive(Debug, Clone)]
pub enum Group {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
    Share(ShareGroup),
    Streams(StreamsGroup),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    Classic,
    Consumer,
    Share,
    Streams,
}

impl GroupKind {
    /// As ListGroups and Kafka's error messages say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
            Self::Streams => "streams",
        }
    }
}

/// Why a member's request is refused, in the words that Kafka has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: ErrorCode,
    pub message: Str,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Str::from(message.into()) }
    }
}

/// Who commits offsets: what an OffsetCommit or TxnOffsetCommit says of its sender.
#[derive(Debug, Clone, Copy)]
pub(super) struct Committer<'a> {
    pub(super) member_id: &'a str,
    pub(super) instance_id: Option<&'a Str>,
    /// The generation, or the member's epoch; negative for none.
    pub(super) epoch: i32,
    /// Of the request.
    pub(super) version: i16,
    pub(super) transactional: bool,
}

/// From when on a group's offsets grow old (KIP-211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OffsetAge {
    /// They do not.
    Never,
    SinceCommit,
    /// Since this time, or the commit where the time is not known.
    Since(Option<TimestampMs>),
}

/// What every type of group must be able to say. Whatever changes a group goes through records, or is the type's own.
pub(super) trait GroupType {
    fn kind(&self) -> GroupKind;

    /// As Kafka's tools print it.
    fn state_name(&self) -> &'static str;

    fn protocol_type(&self) -> Str;

    /// Whether it has no members: it can be deleted, or become a group of another type.
    fn is_empty(&self) -> bool;

    /// Appends what makes the group go away, apart from its offsets.
    fn tombstones(&self, outcome: &mut GroupOutcome);

    /// Whether a committer may commit offsets at all.
    fn check_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode>;

    /// Whether it may commit this partition's, given that [`check_commit`](Self::check_commit) let it pass.
    fn check_commit_of(
        &self,
        _by: &Committer<'_>,
        _topic: &str,
        _topic_id: uuid::Uuid,
        _partition: i32,
    ) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether a member may fetch offsets; `member_id` and `epoch` are those of OffsetFetch v9.
    fn check_fetch(&self, _member_id: Option<&Str>, _epoch: i32) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether offsets may be deleted one by one.
    fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether a member reads the topic, so that its offsets must stay.
    fn is_subscribed_to(&self, topic: &str) -> bool;

    fn offset_age(&self) -> OffsetAge;

    /// The first thing that makes it impossible to delete the group.
    fn check_delete(&self) -> Result<(), ErrorCode> {
        if self.is_empty() { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
    }
}

impl Group {
    pub(super) fn rules(&self) -> &dyn GroupType {
        match self {
            Self::Classic(group) => group,
            Self::Consumer(group) => group,
            Self::Share(group) => group,
            Self::Streams(group) => group,
        }
    }

    pub fn kind(&self) -> GroupKind {
        self.rules().kind()
    }

    pub fn state_name(&self) -> &'static str {
        self.rules().state_name()
    }

    pub fn as_classic(&self) -> Option<&ClassicGroup> {
        if let Self::Classic(group) = self { Some(group) } else { None }
    }

    pub fn as_consumer(&self) -> Option<&ConsumerGroup> {
        if let Self::Consumer(group) = self { Some(group) } else { None }
    }
}
