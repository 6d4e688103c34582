//! What a StreamsGroupHeartbeat must be like before anything is done with it.

use strata_protocol::Message;
use strata_protocol::Str;
use strata_protocol::messages::StreamsGroupHeartbeatRequest;
use strata_protocol::messages::streams_group_heartbeat_request::{TaskIds, Topology};
use strata_types::ErrorCode;

use super::tasks::{Tasks, from_lists};
use super::topology::to_record;
use crate::group::config::StreamsConfig;
use crate::group::kind::Failure;
use crate::group::modern::{JOIN_EPOCH, STATIC_LEAVE_EPOCH};

/// Kafka's checks, in Kafka's order; then our own limits.
pub(super) fn validate(
    request: &StreamsGroupHeartbeatRequest,
    version: i16,
    config: &StreamsConfig,
) -> Result<(), Failure> {
    refuse_unsupported(request, version)?;
    let texts = [
        ("MemberId", Some(&request.member_id)),
        ("GroupId", Some(&request.group_id)),
        ("InstanceId", request.instance_id.as_ref()),
        ("RackId", request.rack_id.as_ref()),
    ];
    for (name, text) in texts {
        refuse_if(text.is_some_and(|text| text.trim().is_empty()), || format!("{name} can't be empty."))?;
    }
    let epoch = request.member_epoch;
    if epoch == JOIN_EPOCH {
        validate_join(request)?;
    }
    refuse_if(epoch == STATIC_LEAVE_EPOCH && request.instance_id.is_none(), || {
        "InstanceId can't be null.".to_owned()
    })?;
    refuse_if(epoch < STATIC_LEAVE_EPOCH, || {
        format!("MemberEpoch is {epoch}, but must be greater than or equal to -2.")
    })?;
    let given =
        [&request.active_tasks, &request.standby_tasks, &request.warmup_tasks].map(|tasks| tasks.is_some());
    refuse_if(given.contains(&true) && given.contains(&false), || {
        "If one task-type is non-null, all must be non-null.".to_owned()
    })?;
    refuse_if(epoch != JOIN_EPOCH && request.topology.is_some(), || {
        "Topology can only be provided when (re-)joining.".to_owned()
    })?;
    check_size(request, config)
}

/// What the member says that it runs, if it says so.
pub(super) fn owned(request: &StreamsGroupHeartbeatRequest) -> Option<Tasks> {
    let set = |lists: &[TaskIds]| {
        from_lists(lists.iter().map(|list| (&list.subtopology_id, list.partitions.as_slice())))
    };
    Some(Tasks {
        active: set(request.active_tasks.as_ref()?),
        standby: set(request.standby_tasks.as_ref()?),
        warmup: set(request.warmup_tasks.as_ref()?),
    })
}

/// Members of Kafka 4.4 tell how far their state is, which brokers of v0 refuse, and this one has no use for.
const TASK_OFFSETS_VERSION: i16 = 1;

fn refuse_unsupported(request: &StreamsGroupHeartbeatRequest, version: i16) -> Result<(), Failure> {
    let no_offsets = version < TASK_OFFSETS_VERSION;
    let has_regex =
        |topology: &Topology| topology.subtopologies.iter().any(|s| !s.source_topic_regex.is_empty());
    let unsupported = [
        (request.instance_id.is_some(), "Static membership is not yet supported."),
        (no_offsets && request.task_offsets.is_some(), "TaskOffsets are not supported yet."),
        (no_offsets && request.task_end_offsets.is_some(), "TaskEndOffsets are not supported yet."),
        (
            request.warmup_tasks.as_ref().is_some_and(|tasks| !tasks.is_empty()),
            "WarmupTasks are not supported yet.",
        ),
        (
            request.topology.as_ref().is_some_and(has_regex),
            "Regular expressions for source topics are not supported yet.",
        ),
    ];
    unsupported.into_iter().try_for_each(|(used, words)| refuse_if(used, || words.to_owned()))
}

fn validate_join(request: &StreamsGroupHeartbeatRequest) -> Result<(), Failure> {
    refuse_if(request.rebalance_timeout_ms == -1, || {
        "RebalanceTimeoutMs must be provided in first request.".to_owned()
    })?;
    let tasks = [
        ("ActiveTasks", &request.active_tasks),
        ("StandbyTasks", &request.standby_tasks),
        ("WarmupTasks", &request.warmup_tasks),
    ];
    for (name, tasks) in tasks {
        let is_free = tasks.as_ref().is_some_and(Vec::is_empty);
        refuse_if(!is_free, || format!("{name} must be empty when (re-)joining."))?;
    }
    let Some(topology) = &request.topology else {
        return refuse_if(true, || "Topology must be non-null when (re-)joining.".to_owned());
    };
    let changelogs =
        topology.subtopologies.iter().flat_map(|subtopology| &subtopology.state_changelog_topics);
    match changelogs.into_iter().find(|topic| topic.partitions != 0) {
        None => Ok(()),
        Some(topic) => Err(Failure::new(
            ErrorCode::StreamsInvalidTopology,
            format!(
                "Changelog topic {} must have an undefined partition count, but it is set to {}.",
                topic.name, topic.partitions
            ),
        )),
    }
}

/// Whatever is kept of a request has a limit.
fn check_size(request: &StreamsGroupHeartbeatRequest, config: &StreamsConfig) -> Result<(), Failure> {
    let text = |text: &Option<Str>| text.as_ref().map_or(0, |text| text.len());
    let tags = request.client_tags.iter().flatten().map(|tag| tag.key.len() + tag.value.len()).sum::<usize>();
    let endpoint = request.user_endpoint.as_ref().map_or(0, |endpoint| endpoint.host.len());
    let member = request.member_id.len()
        + request.group_id.len()
        + text(&request.rack_id)
        + text(&request.process_id)
        + tags
        + endpoint;
    refuse_if(member > config.member_bytes_max, || {
        format!("The member says more than {} bytes of itself.", config.member_bytes_max)
    })?;
    let Some(topology) = &request.topology else { return Ok(()) };
    let bytes = to_record(topology).to_bytes(0).map_or(usize::MAX, |bytes| bytes.len());
    if bytes <= config.topology_bytes_max {
        return Ok(());
    }
    let message = format!("The topology has more than {} bytes.", config.topology_bytes_max);
    Err(Failure::new(ErrorCode::StreamsInvalidTopology, message))
}

fn refuse_if(condition: bool, words: impl FnOnce() -> String) -> Result<(), Failure> {
    if condition { Err(Failure::new(ErrorCode::InvalidRequest, words())) } else { Ok(()) }
}
