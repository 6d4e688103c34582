//! StreamsGroupHeartbeat: a member joins, shows that it lives, and learns its tasks.
//!
//! ```text
//!  member changed? ─▶ topology, configured by the topics ─▶ new epoch? ─▶ new target? ─▶ the member's next step ─▶ answer
//! ```
//!
//! The records of all steps are one batch; a refusal at any step leaves nothing behind.

use std::sync::Arc;

use strata_protocol::Str;
use strata_protocol::messages::streams_group_heartbeat_response::TaskIds;
use strata_protocol::messages::{StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse};
use strata_types::{ErrorCode, TimestampMs};

use super::configure::ConfiguredTopology;
use super::endpoints;
use super::group::{StreamsGroup, current_record, member_record};
use super::member::{MemberState, StreamsMember};
use super::reconcile::{Holders, Target, reconcile};
use super::request::{owned, validate};
use super::status::{Problem, StatusCode};
use super::tasks::{TaskId, Tasks, to_lists};
use crate::group::api::{ClientContext, StreamsHeartbeat};
use crate::group::kind::{Failure, Group, GroupType};
use crate::group::modern::{JOIN_EPOCH, LEAVE_EPOCH, ModernType, STATIC_LEAVE_EPOCH};
use crate::group::timers::Timer;
use crate::group::{GroupOutcome, GroupShard};

/// One heartbeat on its way through the steps.
pub(super) struct Beat<'a> {
    pub(super) now: TimestampMs,
    pub(super) request: &'a StreamsGroupHeartbeatRequest,
    /// As it was before.
    pub(super) group: &'a StreamsGroup,
    pub(super) outcome: &'a mut GroupOutcome,
    pub(super) problems: Vec<Problem>,
}

impl GroupShard {
    pub(in crate::group) fn streams_heartbeat(
        &mut self,
        now: TimestampMs,
        request: &StreamsGroupHeartbeatRequest,
        client: &ClientContext,
        outcome: &mut GroupOutcome,
    ) -> StreamsHeartbeat {
        let handled = validate(request, client.version, &self.config.streams).and_then(|()| {
            match request.member_epoch {
                LEAVE_EPOCH | STATIC_LEAVE_EPOCH => self.streams_leave(request, outcome),
                _ => self.streams_stay(now, request, client, outcome),
            }
        });
        handled.unwrap_or_else(|failure| {
            // A refused request changes nothing.
            outcome.discard();
            StreamsHeartbeat::refused(failure.code, Some(failure.message))
        })
    }

    fn streams_stay(
        &mut self,
        now: TimestampMs,
        request: &StreamsGroupHeartbeatRequest,
        client: &ClientContext,
        outcome: &mut GroupOutcome,
    ) -> Result<StreamsHeartbeat, Failure> {
        let joins = request.member_epoch == JOIN_EPOCH;
        let group = self.streams_group_for(&request.group_id, joins, outcome)?;
        let owned = owned(request);
        let before = member_for(&group, request, joins, owned.as_ref())?;
        let said = before.with_request(request, client);
        let member_changed = said != *before;
        if member_changed {
            outcome.append(member_record(&group.core.id, &said.id, Some(&said)));
        }
        let mut beat = Beat { now, request, group: &group, outcome, problems: Vec::new() };
        let (epoch, configured) = self.streams_epoch(&mut beat, &said, member_changed)?;
        check_owned(&configured, owned.as_ref())?;
        let target = self.streams_target(&mut beat, epoch, &said, &configured);
        let after = self.streams_step(&mut beat, &said, &target, owned.as_ref())?;
        let problems = beat.problems;
        self.timers.set(
            &group.core.id,
            Timer::Session(after.id.clone()),
            now + i64::from(self.streams_settings(&group.core.id).session_timeout_ms),
        );
        // A member that says that it has something else may have missed the answer that told it so.
        let tell = joins
            || before.assigned != after.assigned
            || owned.is_some_and(|owned| !owned.are(&after.assigned));
        Ok(self.streams_answer(request, &group, &after, tell, &configured, problems))
    }

    /// The group as it is, or as it is going to be: one that is new, or that an empty classic group turns into.
    fn streams_group_for(
        &self,
        group_id: &Str,
        joins: bool,
        outcome: &mut GroupOutcome,
    ) -> Result<StreamsGroup, Failure> {
        let not_found = |words: String| Err(Failure::new(ErrorCode::GroupIdNotFound, words));
        let group = match self.state.groups.get(group_id).map(Arc::as_ref) {
            Some(Group::Streams(group)) => group.clone(),
            Some(Group::Classic(group)) if joins && group.is_empty() => {
                group.tombstones(outcome);
                StreamsGroup::new(group_id.detached())
            }
            Some(_) => return not_found(format!("Group {group_id} is not a streams group.")),
            None if !joins => return not_found(format!("Streams group {group_id} not found.")),
            None if self.state.groups.len() >= self.config.groups_max => {
                return Err(Failure::new(ErrorCode::PolicyViolation, "There are too many groups."));
            }
            None => StreamsGroup::new(group_id.detached()),
        };
        let max = self.config.streams.max_size;
        if joins && group.core.members.len() >= usize::try_from(max).unwrap_or(0) {
            let message = format!("The streams group has reached its maximum capacity of {max} members.");
            return Err(Failure::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(group)
    }

    /// Moves the member towards its target, and watches over it where it has to give up tasks.
    fn streams_step(
        &mut self,
        beat: &mut Beat<'_>,
        member: &StreamsMember,
        target: &Target,
        owned: Option<&Tasks>,
    ) -> Result<StreamsMember, Failure> {
        if member.is_reconciled_to(target.epoch) {
            return Ok(member.clone());
        }
        let holders = Holders::new(beat.group.members(), &member.process_id);
        let after = reconcile(member, target, owned, &holders).map_err(|()| {
            Failure::new(
                ErrorCode::FencedMemberEpoch,
                "The streams group member is in a unknown state. The member must abandon all its tasks and rejoin.",
            )
        })?;
        if after == *member {
            return Ok(after);
        }
        let group = &beat.group.core.id;
        beat.outcome.append(current_record(group, &after.id, Some(&after)));
        let timer = Timer::Rebalance(after.id.clone());
        if after.state == MemberState::UnrevokedTasks {
            self.timers.set(group, timer, beat.now + i64::from(after.rebalance_timeout_ms.max(0)));
        } else {
            self.timers.cancel(group, timer);
        }
        Ok(after)
    }

    fn streams_answer(
        &mut self,
        request: &StreamsGroupHeartbeatRequest,
        group: &StreamsGroup,
        after: &StreamsMember,
        tell: bool,
        configured: &ConfiguredTopology,
        mut problems: Vec<Problem>,
    ) -> StreamsHeartbeat {
        let mut response = StreamsGroupHeartbeatResponse {
            member_id: after.id.clone(),
            member_epoch: after.epoch,
            heartbeat_interval_ms: self.streams_settings(&group.core.id).heartbeat_interval_ms,
            ..Default::default()
        };
        let soft = self.streams.entry(&group.core.id);
        if request.shutdown_application {
            soft.shutdown_requested_by.get_or_insert_with(|| after.id.detached());
        }
        if tell {
            response.active_tasks = Some(lists(after.assigned.active.keys()));
            response.standby_tasks = Some(lists(&after.assigned.standby));
            response.warmup_tasks = Some(lists(&after.assigned.warmup));
            soft.endpoint_epoch += i32::from(after.user_endpoint.is_some());
        }
        response.endpoint_information_epoch = soft.endpoint_epoch;
        if soft.endpoint_epoch != request.endpoint_information_epoch {
            let partitions = endpoints::partitions(group, after, configured, self.metadata.view());
            response.partitions_by_user_endpoint = Some(partitions);
        }
        problems.extend(configured.problem.clone());
        problems.extend(soft.shutdown_requested_by.as_ref().map(|member| {
            let detail = format!(
                "Streams group member {member} encountered a fatal error and requested a shutdown for the entire \
                 application."
            );
            Problem::new(StatusCode::ShutdownApplication, detail)
        }));
        response.status = Some(problems.iter().map(Problem::status).collect());
        StreamsHeartbeat { response, missing_topics: configured.missing.clone() }
    }
}

/// The member as the group knows it, or a new one. Joining is always possible; otherwise the epoch must be its own, or
/// the one before, if it has nothing that it should not have.
fn member_for(
    group: &StreamsGroup,
    request: &StreamsGroupHeartbeatRequest,
    joins: bool,
    owned: Option<&Tasks>,
) -> Result<Arc<StreamsMember>, Failure> {
    if joins {
        let known = group.core.member(&request.member_id).cloned();
        return Ok(known.unwrap_or_else(|| Arc::new(StreamsMember::new(request.member_id.detached()))));
    }
    let member = group.core.expect_member(&request.member_id)?;
    group.core.check_epoch(member, request.member_epoch, || {
        owned.is_some_and(|owned| owned.is_within(&member.assigned))
    })?;
    Ok(Arc::clone(member))
}

/// A member can only have tasks that there are.
fn check_owned(configured: &ConfiguredTopology, owned: Option<&Tasks>) -> Result<(), Failure> {
    let (Some(owned), Some(subtopologies), true) = (owned, &configured.subtopologies, configured.is_ready())
    else {
        return Ok(());
    };
    for task in owned.active.iter().chain(&owned.standby).chain(&owned.warmup) {
        let TaskId { subtopology: id, partition } = task;
        let message = match subtopologies.get(id) {
            None => format!("Subtopology {id} does not exist in the topology."),
            Some(subtopology) if !(0..subtopology.tasks).contains(partition) => format!(
                "Task {partition} for subtopology {id} is invalid. Number of tasks for this subtopology: {}",
                subtopology.tasks
            ),
            Some(_) => continue,
        };
        return Err(Failure::new(ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

fn lists<'a>(tasks: impl IntoIterator<Item = &'a TaskId>) -> Vec<TaskIds> {
    let lists = to_lists(tasks).into_iter();
    lists
        .map(|(subtopology_id, partitions)| TaskIds { subtopology_id, partitions, ..Default::default() })
        .collect()
}
