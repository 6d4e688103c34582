//! What a heartbeat changes in its group: the topology as its topics let it be, the epoch, the target assignment.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use strata_protocol::Str;
use strata_types::{ErrorCode, TimestampMs};

use super::assignor::{MemberSpec, SubtopologySpec, assign};
use super::configure::{ConfiguredTopology, TopologyError};
use super::group::{
    StreamsGroup, assignment_record, group_record, group_value, target_record, topology_record,
};
use super::heartbeat::Beat;
use super::member::StreamsMember;
use super::reconcile::Target;
use super::soft::Configured;
use super::status::{Problem, StatusCode};
use super::tasks::Tasks;
use super::topology::{Topology, to_record};
use crate::group::kind::Failure;
use crate::group::metadata::group_hash;
use crate::group::timers::Timer;
use crate::group::{GroupOutcome, GroupShard};

/// The one setting that changes assignments, by the name that the group's record has for it.
const STANDBY_REPLICAS: Str = Str::from_static("num.standby.replicas");

impl GroupShard {
    /// The group's epoch, raised if anything changed that assignments depend on; and its topology with today's topics.
    pub(super) fn streams_epoch(
        &mut self,
        beat: &mut Beat<'_>,
        member: &StreamsMember,
        member_changed: bool,
    ) -> Result<(i32, Arc<ConfiguredTopology>), Failure> {
        let group = beat.group;
        let topology = topology_of(beat)?;
        if let Some(known) = group.topology.as_ref().filter(|known| member.topology_epoch < known.epoch) {
            let detail = format!(
                "The member's topology epoch {} is behind the group's topology epoch {}.",
                member.topology_epoch, known.epoch
            );
            beat.problems.push(Problem::new(StatusCode::StaleTopology, detail));
        }
        let (hash, configured) = self.configure(group, &topology)?;
        let validated = if configured.is_ready() { topology.epoch } else { -1 };
        let replicas = self.streams_settings(&group.core.id).standby_replicas;
        let configs = OrdMap::unit(STANDBY_REPLICAS, Str::from(replicas.to_string()));
        let changed = member_changed
            || hash != group.core.metadata_hash
            || validated != group.validated_topology_epoch
            || configs != group.assignment_configs;
        let mut epoch = group.core.epoch;
        if changed {
            epoch += 1;
            tracing::debug!(group = %group.core.id, member = %member.id, epoch, "a new group epoch");
            let value = group_value(epoch, hash, validated, &configs);
            beat.outcome.append(group_record(&group.core.id, Some(value)));
        }
        Ok((epoch, configured))
    }

    /// Looks at the topology again where its topics changed, or nobody has yet.
    fn configure(
        &mut self,
        group: &StreamsGroup,
        topology: &Topology,
    ) -> Result<(i64, Arc<ConfiguredTopology>), Failure> {
        let id = &group.core.id;
        let known = self.streams.get(id).and_then(|soft| soft.configured.clone());
        // What was configured for records that were not written does not count.
        let known =
            known.filter(|known| group.topology.is_some() && known.metadata_hash == group.core.metadata_hash);
        if let Some(known) = known.as_ref().filter(|_| !self.metadata.is_stale(id)) {
            return Ok((known.metadata_hash, Arc::clone(&known.topology)));
        }
        let view = self.metadata.view();
        let hash = group_hash(view, topology.required_topics().into_iter());
        let configured = match known.filter(|known| known.metadata_hash == hash) {
            Some(known) => known.topology,
            None => {
                let partitions = |topic: &str| view.topic(topic).map(|topic| topic.partitions);
                Arc::new(ConfiguredTopology::new(topology, &partitions).map_err(failure)?)
            }
        };
        self.metadata.refreshed(id);
        let topology = Arc::clone(&configured);
        self.streams.entry(id).configured = Some(Configured { metadata_hash: hash, topology });
        Ok((hash, configured))
    }

    /// What the member is to have: of a new target assignment, where one is due.
    pub(super) fn streams_target(
        &mut self,
        beat: &mut Beat<'_>,
        epoch: i32,
        member: &StreamsMember,
        configured: &ConfiguredTopology,
    ) -> Target {
        let group = beat.group;
        let settings = self.streams_settings(&group.core.id);
        if group.core.members.is_empty() && settings.initial_rebalance_delay_ms > 0 {
            let at = beat.now + i64::from(settings.initial_rebalance_delay_ms);
            self.timers.arm(&group.core.id, Timer::FirstAssignment, at);
        }
        let last = |tasks: Tasks| Target { epoch: group.core.assignment_epoch, tasks };
        let assigned =
            || group.core.targets.get(&member.id).map(|tasks| Tasks::clone(tasks)).unwrap_or_default();
        if self.timers.is_armed(&group.core.id, Timer::FirstAssignment) {
            let detail = "Assignment delayed due to the configured initial rebalance delay.";
            beat.problems.push(Problem::new(StatusCode::AssignmentDelayed, detail));
            return last(Tasks::default());
        }
        if group.core.assignment_epoch >= epoch {
            return last(assigned());
        }
        if !is_due(group, settings.assignment_interval_ms, beat.now) {
            let detail = "Assignment delayed due to the configured assignment interval.";
            beat.problems.push(Problem::new(StatusCode::AssignmentDelayed, detail));
            return last(assigned());
        }
        let mut targets = assign_group(
            group,
            Some(member),
            configured,
            settings.standby_replicas,
            epoch,
            beat.now,
            beat.outcome,
        );
        Target { epoch, tasks: targets.remove(&member.id).unwrap_or_default() }
    }

    /// The time is over in which a new group waits for more members.
    pub(super) fn first_assignment(&mut self, now: TimestampMs, group_id: &Str, outcome: &mut GroupOutcome) {
        let Ok(group) = self.state.typed::<StreamsGroup>(group_id).cloned() else { return };
        let configured =
            self.streams.get(group_id).and_then(|soft| soft.configured.clone()).map(|known| known.topology);
        let settings = self.streams_settings(group_id);
        let is_behind = group.core.epoch > group.core.assignment_epoch;
        let is_due = is_due(&group, settings.assignment_interval_ms, now);
        // Where there is nothing to assign by yet, a member's next heartbeat does it.
        if let Some(configured) = configured.filter(|_| is_behind && is_due && !group.core.members.is_empty())
        {
            // As it was last: a setting that changed since is noticed by the next heartbeat.
            let replicas =
                group.assignment_configs.get(&STANDBY_REPLICAS).and_then(|value| value.parse().ok());
            assign_group(&group, None, &configured, replicas.unwrap_or(0), group.core.epoch, now, outcome);
        }
    }
}

/// The group's topology, or the first one, which then is the group's.
fn topology_of(beat: &mut Beat<'_>) -> Result<Arc<Topology>, Failure> {
    let Some(sent) = &beat.request.topology else {
        let message = "The topology is null and the group topology is also null.";
        return beat
            .group
            .topology
            .clone()
            .ok_or_else(|| Failure::new(ErrorCode::UnknownServerError, message));
    };
    let record = to_record(sent);
    if sent.epoch < 0 {
        return Err(Failure::new(ErrorCode::UnknownServerError, "Topology epoch must be non-negative."));
    }
    let topology = Topology::new(&record).map_err(failure)?;
    match &beat.group.topology {
        None => {
            beat.outcome.append(topology_record(&beat.group.core.id, Some(record)));
            Ok(Arc::new(topology))
        }
        Some(known) if known.epoch > topology.epoch || **known == topology => Ok(Arc::clone(known)),
        Some(_) => Err(Failure::new(ErrorCode::InvalidRequest, "Topology updates are not supported yet.")),
    }
}

/// Assigns all tasks anew; answers what each member is to have. Without topics that fit, there are no tasks.
fn assign_group(
    group: &StreamsGroup,
    changed: Option<&StreamsMember>,
    configured: &ConfiguredTopology,
    standby_replicas: usize,
    epoch: i32,
    now: TimestampMs,
    outcome: &mut GroupOutcome,
) -> BTreeMap<Str, Tasks> {
    let nothing = Tasks::default();
    let unchanged = group.members().filter(|member| changed.is_none_or(|changed| changed.id != member.id));
    let members: BTreeMap<Str, MemberSpec<'_>> = unchanged
        .chain(changed)
        .map(|member| {
            let tasks = group.core.targets.get(&member.id).map_or(&nothing, Arc::as_ref);
            (member.id.clone(), MemberSpec { process_id: &member.process_id, tasks })
        })
        .collect();
    let subtopologies = configured.subtopologies.iter().flatten().filter(|_| configured.is_ready());
    let subtopologies = subtopologies.map(|(id, subtopology)| {
        (id.clone(), SubtopologySpec { tasks: subtopology.tasks, is_stateful: subtopology.is_stateful })
    });
    let targets = assign(&members, &subtopologies.collect(), standby_replicas);
    for (member, tasks) in &targets {
        if group.core.targets.get(member).is_none_or(|known| **known != *tasks) {
            outcome.append(target_record(&group.core.id, member, Some(tasks)));
        }
    }
    outcome.append(assignment_record(&group.core.id, Some((epoch, now))));
    targets
}

/// Assignments of one group keep a distance, so that members that come together are assigned to together.
fn is_due(group: &StreamsGroup, interval_ms: i32, now: TimestampMs) -> bool {
    let last = group.core.assignment_timestamp;
    last == 0 || interval_ms == 0 || now >= last + i64::from(interval_ms)
}

fn failure(error: TopologyError) -> Failure {
    let code = match error {
        TopologyError::Invalid(_) => ErrorCode::StreamsInvalidTopology,
        TopologyError::Unexpected(_) => ErrorCode::UnknownServerError,
    };
    Failure::new(code, error.to_string())
}
