//! Membership in a group, by the classic protocol.
//!
//! ```text
//!            +--------------------- needs_rejoin --------------------+
//!            v                                                       |
//!   join (leader: assign) --> sync --> member, heartbeats every few seconds
//!                                          |
//!                                          +-- lost (fenced, timed out) --> join as a new member
//! ```

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strata_protocol::Str;
use strata_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use strata_protocol::messages::leave_group_request::MemberIdentity;
use strata_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use strata_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use strata_types::{ErrorCode, TopicName, TopicPartition};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ConsumerOptions;
use super::assignor::{Assignor, GroupMember, Topics};
use super::protocol::{self, PROTOCOL_TYPE};
use crate::client::{Client, CoordinatorType};
use crate::error::{ClientError, Result};
use crate::offsets::Member;
use crate::retry::Retry;

/// What a join yields.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) member: Member,
    pub(crate) assignor: Assignor,
    pub(crate) assigned: Vec<TopicPartition>,
    /// For the leader: how many partitions the topics had. When that changes, the group must share out anew.
    pub(crate) topics: Option<Topics>,
}

/// Everything a join needs, so that it can go on while its consumer does something else.
pub(crate) struct Joining {
    pub(crate) client: Client,
    pub(crate) options: Arc<ConsumerOptions>,
    pub(crate) group: String,
    pub(crate) topics: Vec<TopicName>,
    pub(crate) owned: Vec<TopicPartition>,
    pub(crate) member: Member,
}

impl Joining {
    /// Joins and syncs, again and again until the group agrees.
    pub(crate) async fn run(mut self) -> Result<Joined> {
        let limit_ms = self.options.poll_interval_ms_max + self.client.options().api_timeout_ms;
        let mut retry = Retry::new(self.client.options(), "joining a group", limit_ms);
        loop {
            let error = match self.join().await {
                Ok(joined) => return Ok(joined),
                Err(error) => error,
            };
            match error.code() {
                Some(ErrorCode::MemberIdRequired) => continue,
                Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                    self.member.member_id = Str::default();
                    self.member.generation = -1;
                    self.owned.clear();
                    retry
                        .again(ClientError::broker(
                            ErrorCode::RequestTimedOut.code(),
                            Some(&error.to_string()),
                        ))
                        .await?;
                }
                Some(ErrorCode::RebalanceInProgress) => {
                    retry
                        .again(ClientError::broker(
                            ErrorCode::RequestTimedOut.code(),
                            Some(&error.to_string()),
                        ))
                        .await?;
                }
                _ => retry.again(error).await?,
            }
        }
    }

    async fn join(&mut self) -> Result<Joined> {
        let metadata = protocol::encode_subscription(&self.topics, &self.owned, self.member.generation)?;
        let protocols = self.options.assignors.iter().map(|assignor| JoinGroupRequestProtocol {
            name: Str::from_static(assignor.name()),
            metadata: metadata.clone(),
            ..Default::default()
        });
        let request = JoinGroupRequest {
            group_id: self.group.as_str().into(),
            session_timeout_ms: millis(self.options.session_timeout_ms),
            rebalance_timeout_ms: millis(self.options.poll_interval_ms_max),
            member_id: self.member.member_id.clone(),
            group_instance_id: self.member.group_instance_id.clone(),
            protocol_type: Str::from_static(PROTOCOL_TYPE),
            protocols: protocols.collect(),
            ..Default::default()
        };
        // The coordinator answers when all members have joined, which may take as long as they may take to poll.
        let limit = Duration::from_millis(self.options.poll_interval_ms_max)
            + self.client.options().request_timeout();
        let code = |answer: &JoinGroupResponse| answer.error_code;
        let answer = self
            .client
            .call_coordinator_once(CoordinatorType::Group, &self.group, &request, code, limit)
            .await?;
        if answer.error_code == 0 || answer.error_code == ErrorCode::MemberIdRequired.code() {
            self.member.member_id = answer.member_id.detached();
        }
        ClientError::check(answer.error_code)?;
        self.member.generation = answer.generation_id;
        self.sync(&answer).await
    }

    async fn sync(&self, joined: &JoinGroupResponse) -> Result<Joined> {
        let name = joined.protocol_name.as_deref().unwrap_or_default();
        let assignor = Assignor::by_name(name).ok_or(ClientError::Incomplete("an assignor that we know"))?;
        let is_leader = joined.leader == joined.member_id;
        let (assignments, topics) =
            if is_leader { self.lead(assignor, joined).await? } else { (Vec::new(), None) };
        let request = SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            group_instance_id: self.member.group_instance_id.clone(),
            protocol_type: Some(Str::from_static(PROTOCOL_TYPE)),
            protocol_name: joined.protocol_name.clone(),
            assignments,
            ..Default::default()
        };
        let limit = Duration::from_millis(self.options.poll_interval_ms_max)
            + self.client.options().request_timeout();
        let code = |answer: &SyncGroupResponse| answer.error_code;
        let answer = self
            .client
            .call_coordinator_once(CoordinatorType::Group, &self.group, &request, code, limit)
            .await?;
        ClientError::check(answer.error_code)?;
        let assigned = protocol::decode_assignment(&answer.assignment)?;
        Ok(Joined { member: self.member.clone(), assignor, assigned, topics })
    }

    /// The leader shares out the partitions.
    async fn lead(
        &self,
        assignor: Assignor,
        joined: &JoinGroupResponse,
    ) -> Result<(Vec<SyncGroupRequestAssignment>, Option<Topics>)> {
        if joined.skip_assignment {
            // A static member that leads again: the assignment stands (KIP-814).
            return Ok((Vec::new(), None));
        }
        let member = |member: &strata_protocol::messages::join_group_response::JoinGroupResponseMember| {
            protocol::decode_member(&member.member_id, member.group_instance_id.as_deref(), &member.metadata)
        };
        let members = joined.members.iter().map(member).collect::<Result<Vec<_>>>()?;
        let topics = count_partitions(&self.client, &members).await?;
        let mut assignments = Vec::new();
        for (member_id, partitions) in assignor.assign(&members, &topics) {
            assignments.push(SyncGroupRequestAssignment {
                member_id: member_id.into(),
                assignment: protocol::encode_assignment(&partitions)?,
                ..Default::default()
            });
        }
        Ok((assignments, Some(topics)))
    }
}

fn millis(ms: u64) -> i32 {
    i32::try_from(ms).unwrap_or(i32::MAX)
}

/// How many partitions the members' topics have. Topics that do not exist (yet) are left out.
async fn count_partitions(client: &Client, members: &[GroupMember]) -> Result<Topics> {
    let mut wanted: Vec<TopicName> =
        members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
    wanted.sort();
    wanted.dedup();
    recount(client, &wanted).await
}

async fn recount(client: &Client, wanted: &[TopicName]) -> Result<Topics> {
    client.refresh(Some(wanted)).await?;
    let metadata = client.metadata();
    let count = |name: &TopicName| Some((name.clone(), metadata.topics.get(name)?.partitions.len()));
    Ok(wanted.iter().filter_map(count).collect())
}

/// A membership, kept alive by a task of its own until it is dropped.
pub(crate) struct Membership {
    pub(crate) member: Member,
    pub(crate) assignor: Assignor,
    status: Arc<Status>,
    heartbeats: AbortHandle,
}

/// What the heartbeats have found out.
pub(crate) struct Status {
    state: Mutex<StatusState>,
    pub(crate) changed: Notify,
}

struct StatusState {
    needs_rejoin: bool,
    /// Nobody in the group knows us any more: what we held may be someone else's.
    is_lost: bool,
    last_poll: Instant,
}

impl Membership {
    pub(crate) fn start(
        joined: Joined,
        client: Client,
        options: Arc<ConsumerOptions>,
        group: String,
        topics: Vec<TopicName>,
    ) -> Self {
        let state = StatusState { needs_rejoin: false, is_lost: false, last_poll: Instant::now() };
        let status = Arc::new(Status { state: Mutex::new(state), changed: Notify::new() });
        let heart = Heart {
            client,
            options,
            group,
            member: joined.member.clone(),
            status: status.clone(),
            leads: joined.topics.map(|counts| (topics, counts)),
        };
        let heartbeats = tokio::spawn(heart.beat()).abort_handle();
        Self { member: joined.member, assignor: joined.assignor, status, heartbeats }
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        self.status.clone()
    }

    pub(crate) fn needs_rejoin(&self) -> bool {
        self.status.state.lock().needs_rejoin
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.status.state.lock().is_lost
    }

    /// The consumer is alive.
    pub(crate) fn polled(&self) {
        self.status.state.lock().last_poll = Instant::now();
    }

    /// Asks for another rebalance.
    pub(crate) fn rejoin(&self) {
        self.status.rejoin();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.heartbeats.abort();
    }
}

impl Status {
    fn rejoin(&self) {
        self.state.lock().needs_rejoin = true;
        self.changed.notify_one();
    }

    fn lose(&self) {
        let mut state = self.state.lock();
        state.needs_rejoin = true;
        state.is_lost = true;
        self.changed.notify_one();
    }
}

/// Tells the coordinator that the member is alive, and listens for a rebalance.
struct Heart {
    client: Client,
    options: Arc<ConsumerOptions>,
    group: String,
    member: Member,
    status: Arc<Status>,
    /// For the leader: the topics, and how many partitions they had.
    leads: Option<(Vec<TopicName>, Topics)>,
}

impl Heart {
    async fn beat(self) {
        let mut beats = interval(Duration::from_millis(self.options.heartbeat_interval_ms.max(1)));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut recounted = Instant::now();
        let recount_after = Duration::from_millis(self.client.options().metadata_max_age_ms);
        loop {
            beats.tick().await;
            let silent = self.status.state.lock().last_poll.elapsed();
            if silent > Duration::from_millis(self.options.poll_interval_ms_max) {
                tracing::warn!(
                    group = self.group,
                    "not polled for {} ms: leaving the group",
                    silent.as_millis()
                );
                let _ = leave(&self.client, &self.group, &self.member).await;
                return self.status.lose();
            }
            if let Some(code) = self.ask().await {
                match code {
                    ErrorCode::None => {}
                    ErrorCode::RebalanceInProgress => self.status.rejoin(),
                    _ => {
                        tracing::info!(group = self.group, %code, "the membership is over");
                        return self.status.lose();
                    }
                }
            }
            if recounted.elapsed() > recount_after && self.leads.is_some() {
                recounted = Instant::now();
                self.rejoin_if_topics_changed().await;
            }
        }
    }

    /// The coordinator's answer; none when it cannot be reached, which the session timeout will judge.
    async fn ask(&self) -> Option<ErrorCode> {
        let request = HeartbeatRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.member.generation,
            member_id: self.member.member_id.clone(),
            group_instance_id: self.member.group_instance_id.clone(),
            ..Default::default()
        };
        let limit = self.client.options().request_timeout();
        let code = |answer: &HeartbeatResponse| answer.error_code;
        let asked =
            self.client.call_coordinator_once(CoordinatorType::Group, &self.group, &request, code, limit);
        match asked.await {
            Ok(answer) => ErrorCode::from_code(answer.error_code),
            Err(error) => {
                tracing::debug!(group = self.group, %error, "a heartbeat failed");
                None
            }
        }
    }

    async fn rejoin_if_topics_changed(&self) {
        let Some((topics, before)) = &self.leads else { return };
        if let Ok(now) = recount(&self.client, topics).await
            && topics.iter().any(|topic| now.get(topic) != before.get(topic))
        {
            self.status.rejoin();
        }
    }
}

/// Leaves the group, so that the others need not wait for the session to end. A static member stays, for it will be back.
pub(crate) async fn leave(client: &Client, group: &str, member: &Member) -> Result<()> {
    if member.group_instance_id.is_some() || member.member_id.is_empty() {
        return Ok(());
    }
    let request = LeaveGroupRequest {
        group_id: group.into(),
        members: vec![MemberIdentity { member_id: member.member_id.clone(), ..Default::default() }],
        ..Default::default()
    };
    let limit = client.options().request_timeout();
    let code = |answer: &LeaveGroupResponse| answer.error_code;
    let answer = client.call_coordinator_once(CoordinatorType::Group, group, &request, code, limit).await?;
    ClientError::check(answer.error_code)
}
