//! What a poll does: takes in what tasks have found out, starts what is missing, and hands over what there is.

use std::collections::HashMap;
use std::time::Duration;

use strata_types::{ErrorCode, NodeId, TopicName, TopicPartition};
use tokio::time::{Instant, sleep_until};

use super::commit::Commit;
use super::fetch::{self, Fetched, Wanted};
use super::group::{Joined, Joining, Membership};
use super::partitions::Position;
use super::resolve::{self, Resolved, Resolving};
use super::{Consumer, ConsumerEvent, ConsumerRecord, Mode};
use crate::error::{ClientError, Result};
use crate::offsets::Member;

/// What a task has found out.
pub(crate) enum Arrival {
    Fetched { node: NodeId, wanted: Vec<Wanted>, answer: Result<Vec<(TopicPartition, Result<Fetched>)>> },
    Topic { name: TopicName, outcome: Result<()> },
    Positions(Result<Vec<Resolved>>),
    Joined(Result<Joined>),
}

impl Consumer {
    /// The next records: at once if there are some, otherwise as soon as there are, none when `timeout` is over.
    ///
    /// With automatic commits, what the polls before this one gave counts as processed.
    ///
    /// # Errors
    /// When polling cannot go on by itself: missing rights, a corrupt batch, no offset to start from, a group that
    /// refuses us. A later poll tries again.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.next_event(deadline.saturating_duration_since(Instant::now())).await? {
                Some(ConsumerEvent::Records(records)) => return Ok(records),
                Some(_) => {}
                None => return Ok(Vec::new()),
            }
        }
    }

    /// As [`Consumer::poll`], and tells also what the group takes and gives. `None` when `timeout` is over.
    pub async fn next_event(&mut self, timeout: Duration) -> Result<Option<ConsumerEvent>> {
        let deadline = Instant::now() + timeout;
        loop {
            self.commit_if_due();
            self.apply_announced();
            while let Ok(arrival) = self.arrivals.try_recv() {
                self.take_in(arrival)?;
            }
            self.rebalance()?;
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let records = self.partitions.take_records(self.options.poll_records_max);
            let now = Instant::now();
            self.start_resolving();
            self.start_fetches(now);
            if !records.is_empty() {
                return Ok(Some(ConsumerEvent::Records(records)));
            }
            if now >= deadline {
                return Ok(None);
            }
            self.wait(deadline).await?;
        }
    }

    /// Until something arrives, the group changes, or a partition may be tried again.
    async fn wait(&mut self, deadline: Instant) -> Result<()> {
        let resume = self.partitions.iter().filter_map(|(_, state)| state.resume_at).min();
        let wake = resume.map_or(deadline, |resume| resume.min(deadline));
        let status = self.group.membership.as_ref().map(Membership::status);
        let changed = async {
            match status {
                Some(status) => status.changed.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(arrival) = self.arrivals.recv() => self.take_in(arrival),
            () = changed => Ok(()),
            () = sleep_until(wake) => {
                for (_, state) in self.partitions.iter_mut() {
                    state.resume_at = state.resume_at.filter(|at| *at > Instant::now());
                }
                Ok(())
            }
        }
    }

    fn take_in(&mut self, arrival: Arrival) -> Result<()> {
        match arrival {
            Arrival::Fetched { node, wanted, answer } => {
                self.busy_nodes.remove(&node);
                self.take_in_fetch(&wanted, answer)
            }
            Arrival::Topic { name, outcome } => {
                self.looking_for.remove(&name);
                let resume_at = self.try_again_at();
                let of_topic = |(partition, _): &(&TopicPartition, _)| partition.topic == name;
                for (partition, state) in self.partitions.iter_mut().filter(of_topic) {
                    let leader = self.client.known_partition(partition).and_then(|known| known.leader);
                    state.resume_at = if leader.is_some() { None } else { Some(resume_at) };
                }
                match outcome {
                    // No broker that answers is no reason to give up reading: the next poll looks again.
                    Err(ClientError::Timeout { .. }) => Ok(()),
                    Err(error) if !error.is_retriable() => Err(error),
                    _ => Ok(()),
                }
            }
            Arrival::Positions(resolved) => {
                self.is_resolving = false;
                for (partition, asked, offset) in resolved? {
                    if let Some(state) = self.partitions.get_mut(&partition).filter(|s| s.position == asked) {
                        state.seek(Position::At(offset));
                    }
                }
                Ok(())
            }
            Arrival::Joined(joined) => {
                self.group.is_joining = false;
                self.joined(joined?);
                Ok(())
            }
        }
    }

    fn take_in_fetch(
        &mut self,
        wanted: &[Wanted],
        answer: Result<Vec<(TopicPartition, Result<Fetched>)>>,
    ) -> Result<()> {
        let mut outcomes: HashMap<_, _> = match answer {
            Ok(outcomes) => outcomes.into_iter().collect(),
            Err(error) => wanted.iter().map(|one| (one.partition.clone(), Err(error.clone()))).collect(),
        };
        let mut first_error = Ok(());
        let resume_at = self.try_again_at();
        for one in wanted {
            let Some(state) = self.partitions.get_mut(&one.partition) else { continue };
            state.is_fetching = false;
            let missing = Err(ClientError::Incomplete("a partition"));
            let error = match outcomes.remove(&one.partition).unwrap_or(missing) {
                Ok(fetched) => {
                    state.fetched(one.from, fetched);
                    continue;
                }
                Err(_) if state.position != Position::At(one.from) => continue,
                Err(error) => error,
            };
            if error.is(ErrorCode::OffsetOutOfRange) {
                match resolve::reset(self.options.auto_offset_reset, &one.partition) {
                    Ok(spec) => state.seek(Position::Seek(spec)),
                    Err(no_offset) => first_error = first_error.and(Err(no_offset)),
                }
                continue;
            }
            state.resume_at = Some(resume_at);
            self.client.doubt(&one.partition.topic);
            if !error.is_retriable() && !error.is(ErrorCode::FencedLeaderEpoch) {
                first_error = first_error.and(Err(error));
            }
        }
        first_error
    }

    fn try_again_at(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.client.options().retry_backoff_ms)
    }

    /// Asks where to start, for the partitions that do not know.
    fn start_resolving(&mut self) {
        let unknown = self.partitions.iter().filter(|(_, state)| !matches!(state.position, Position::At(_)));
        let wanted: Vec<_> = unknown.map(|(partition, state)| (partition.clone(), state.position)).collect();
        if wanted.is_empty() || self.is_resolving {
            return;
        }
        self.is_resolving = true;
        let resolving = Resolving {
            client: self.client.clone(),
            group: self.options.group_id.clone(),
            member: self.group.member.clone(),
            policy: self.options.auto_offset_reset,
            read_committed: self.options.read_committed,
            wanted,
        };
        let arrive = self.arrive.clone();
        tokio::spawn(async move {
            let _ = arrive.send(Arrival::Positions(resolving.run().await));
        });
    }

    /// Asks each leader for the partitions of which nothing is there, one fetch at a time.
    fn start_fetches(&mut self, now: Instant) {
        let mut by_leader: HashMap<NodeId, Vec<Wanted>> = HashMap::new();
        let mut unknown = Vec::new();
        for (partition, state) in self.partitions.iter_mut() {
            let Some(from) = state.wants_fetch(now) else { continue };
            let known = self.client.known_partition(partition);
            let Some((leader, leader_epoch)) =
                known.and_then(|known| Some((known.leader?, known.leader_epoch)))
            else {
                unknown.push(partition.topic.clone());
                continue;
            };
            if !self.busy_nodes.contains(&leader) {
                state.is_fetching = true;
                let wanted = Wanted { partition: partition.clone(), from, leader_epoch };
                by_leader.entry(leader).or_default().push(wanted);
            }
        }
        for (node, wanted) in by_leader {
            self.busy_nodes.insert(node);
            self.start_fetch(node, wanted);
        }
        for topic in unknown {
            self.look_for(topic);
        }
    }

    fn start_fetch(&self, node: NodeId, wanted: Vec<Wanted>) {
        let request = fetch::request(&wanted, &self.options);
        let wait = Duration::from_millis(u64::try_from(self.options.fetch_wait_ms_max).unwrap_or(0));
        let limit = self.client.options().request_timeout() + wait;
        let read_committed = self.options.read_committed;
        let (fetches, arrive) = (self.fetches.clone(), self.arrive.clone());
        tokio::spawn(async move {
            let answer = match fetches.call_within(node, &request, limit).await {
                Ok(answer) => match ClientError::check(answer.error_code) {
                    Ok(()) => Ok(fetch::decode(&answer, &wanted, read_committed)),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            let _ = arrive.send(Arrival::Fetched { node, wanted, answer });
        });
    }

    fn look_for(&mut self, topic: TopicName) {
        if !self.looking_for.insert(topic.clone()) {
            return;
        }
        // What we knew names no leader.
        self.client.doubt(&topic);
        let (client, arrive) = (self.client.clone(), self.arrive.clone());
        tokio::spawn(async move {
            let outcome = client.topic(&topic).await.map(drop);
            let _ = arrive.send(Arrival::Topic { name: topic, outcome });
        });
    }

    /// Joins, or joins again, when the group asks for it; tells the application first what it loses.
    fn rebalance(&mut self) -> Result<()> {
        let Mode::Subscribed(topics) = &self.mode else { return Ok(()) };
        let topics = topics.clone();
        if let Some(membership) = &self.group.membership {
            membership.polled();
            if membership.is_lost() {
                self.lose();
                return Ok(());
            }
            if !membership.needs_rejoin() {
                return Ok(());
            }
        }
        if self.group.is_joining || self.group.announced.is_some() {
            return Ok(());
        }
        let owned = self.partitions.all();
        let is_eager = !self.options.assignors[0].is_cooperative();
        if is_eager && !owned.is_empty() && !self.group.has_announced {
            self.group.has_announced = true;
            self.events.push_back(ConsumerEvent::Revoked(owned));
            return Ok(());
        }
        self.start_joining(topics, if is_eager { Vec::new() } else { owned })
    }

    fn start_joining(&mut self, topics: Vec<TopicName>, owned: Vec<TopicPartition>) -> Result<()> {
        let group = self.group_id()?.to_owned();
        // The join itself keeps the session; heartbeats of the old generation would not.
        self.group.membership = None;
        self.group.is_joining = true;
        self.group.has_announced = false;
        let last = self.commits_by_itself().then(|| self.ask_commit(&group));
        if owned.is_empty() {
            self.partitions.set(&[]);
        }
        let joining = Joining {
            client: self.joins.clone(),
            options: self.options.clone(),
            group,
            topics,
            owned,
            member: self.group.member.clone(),
        };
        let arrive = self.arrive.clone();
        tokio::spawn(async move {
            if let Some(commit) = last {
                commit.run_quietly().await;
            }
            let _ = arrive.send(Arrival::Joined(joining.run().await));
        });
        Ok(())
    }

    fn joined(&mut self, joined: Joined) {
        let (Mode::Subscribed(topics), Some(group)) = (&self.mode, &self.options.group_id) else { return };
        let assigned = joined.assigned.clone();
        self.group.member = joined.member.clone();
        let topics = topics.clone();
        let membership =
            Membership::start(joined, self.client.clone(), self.options.clone(), group.clone(), topics);
        let is_cooperative = membership.assignor.is_cooperative();
        self.group.membership = Some(membership);
        let owned = self.partitions.all();
        let revoked: Vec<_> =
            owned.iter().filter(|partition| !assigned.contains(partition)).cloned().collect();
        let added: Vec<_> = assigned.iter().filter(|partition| !owned.contains(partition)).cloned().collect();
        if is_cooperative && !revoked.is_empty() {
            self.events.push_back(ConsumerEvent::Revoked(revoked));
            self.group.announced = Some(assigned);
        } else {
            self.partitions.set(&assigned);
        }
        if !added.is_empty() {
            self.events.push_back(ConsumerEvent::Assigned(added));
        }
    }

    /// The application has been told what it loses: now it does. What was given up must be shared out again.
    fn apply_announced(&mut self) {
        if !self.events.is_empty() {
            return;
        }
        let Some(assigned) = self.group.announced.take() else { return };
        if self.commits_by_itself() {
            self.commit_in_background();
        }
        self.partitions.set(&assigned);
        if let Some(membership) = &self.group.membership {
            membership.rejoin();
        }
    }

    /// The group has gone on without us.
    fn lose(&mut self) {
        self.group.membership = None;
        self.group.announced = None;
        self.group.has_announced = false;
        let group_instance_id = self.group.member.group_instance_id.take();
        self.group.member = Member { group_instance_id, ..Member::default() };
        let lost = self.partitions.all();
        self.partitions.set(&[]);
        if !lost.is_empty() {
            self.events.push_back(ConsumerEvent::Lost(lost));
        }
    }

    fn commit_if_due(&mut self) {
        if !self.commits_by_itself() || Instant::now() < self.commit_at || self.group.is_joining {
            return;
        }
        self.commit_at = Instant::now() + Duration::from_millis(self.options.auto_commit_interval_ms);
        self.commit_in_background();
    }

    fn commit_in_background(&self) {
        let Some(group) = &self.options.group_id else { return };
        tokio::spawn(self.ask_commit(group).run_quietly());
    }

    fn ask_commit(&self, group: &str) -> Commit {
        self.commits.ask(&self.client, group, &self.group.member, self.positions())
    }
}
