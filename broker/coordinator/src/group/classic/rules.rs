//! What a classic group says to what is asked of every type of group.

use strata_protocol::Str;
use strata_types::ErrorCode;

use super::{ClassicGroup, ClassicState};
use crate::group::kind::{Committer, GroupKind, GroupType, OffsetAge};
use crate::group::{GroupOutcome, GroupRecord, embedded};

/// The protocol type whose metadata name topics.
pub(in crate::group) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

impl GroupType for ClassicGroup {
    fn kind(&self) -> GroupKind {
        GroupKind::Classic
    }

    fn state_name(&self) -> &'static str {
        self.state.name()
    }

    fn protocol_type(&self) -> Str {
        self.protocol_type.clone().unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.state == ClassicState::Empty
    }

    fn tombstones(&self, outcome: &mut GroupOutcome) {
        outcome.append(GroupRecord::group(&self.id, None));
    }

    /// `ClassicGroup.validateOffsetCommit`
    fn check_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        if by.epoch < 0 && self.state == ClassicState::Empty {
            // An administrator, or a consumer that assigns partitions to itself.
            return Ok(());
        }
        if by.epoch >= 0 || !by.member_id.is_empty() || by.instance_id.is_some() {
            self.validate_member(by.member_id, by.instance_id)?;
            if by.epoch != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !by.transactional && self.state != ClassicState::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        if !by.transactional && self.state == ClassicState::CompletingRebalance {
            // The member knows the generation, but not yet what is its own in it.
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Consumers may lose offsets of topics that they no longer read; other protocols do not say what they read.
    fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        if self.state == ClassicState::Empty || self.uses_consumer_protocol() {
            Ok(())
        } else {
            Err(ErrorCode::NonEmptyGroup)
        }
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        match self.subscribed_topics() {
            Some(topics) => topics.iter().any(|subscribed| subscribed.as_str() == topic),
            None => self.uses_consumer_protocol(),
        }
    }

    fn offset_age(&self) -> OffsetAge {
        match (&self.protocol_type, self.state) {
            (None, _) => OffsetAge::SinceCommit,
            (Some(_), ClassicState::Empty) => OffsetAge::Since(self.state_since),
            // Those of topics that nobody reads any more.
            (Some(_), ClassicState::Stable)
                if self.uses_consumer_protocol() && self.subscribed_topics().is_some() =>
            {
                OffsetAge::SinceCommit
            }
            (Some(_), _) => OffsetAge::Never,
        }
    }
}

impl ClassicGroup {
    pub(in crate::group) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// What the members read, where they say so in a way that Kafka understands.
    fn subscribed_topics(&self) -> Option<Vec<Str>> {
        if self.members.is_empty() {
            return Some(Vec::new());
        }
        let protocol = self.protocol_name.as_ref().filter(|_| self.uses_consumer_protocol())?;
        let subscriptions =
            self.members.values().map(|member| embedded::subscription(&member.metadata(protocol)));
        let topics = subscriptions.map(|subscription| subscription.map(|subscription| subscription.topics));
        topics.collect::<Option<Vec<_>>>().map(|topics| topics.concat())
    }
}
