//! The sticky task assignor: who is to run what, with as little moved as balance allows.
//!
//! ```text
//!  active:   who has it now ─▶ who follows its state ─▶ the least loaded process
//!  standby:  who had it active ─▶ who follows its state ─▶ the least loaded process without the task
//! ```
//!
//! It is Kafka 4.3's `sticky`: the same quotas, in the same order of tasks. A process never has a task twice, in whatever
//! role, as its members share one state directory; its load is its tasks by its members. Where Kafka's hash tables decide
//! between equals, the order of process and member ids does here.

mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use strata_protocol::Str;

use super::tasks::{TaskId, Tasks};
use process::{ByLoad, Processes};

/// What is known of a member: its process, and what it was to run so far.
#[derive(Debug, Clone)]
pub(super) struct MemberSpec<'a> {
    pub(super) process_id: &'a Str,
    pub(super) tasks: &'a Tasks,
}

/// A subtopology, as far as tasks go.
#[derive(Debug, Clone, Copy)]
pub(super) struct SubtopologySpec {
    /// At least 1.
    pub(super) tasks: i32,
    /// Only tasks with state have standbys.
    pub(super) is_stateful: bool,
}

/// Gives every task to a member. Without members there is nobody to have them.
pub(super) fn assign(
    members: &BTreeMap<Str, MemberSpec<'_>>,
    subtopologies: &BTreeMap<Str, SubtopologySpec>,
    standby_replicas: usize,
) -> BTreeMap<Str, Tasks> {
    let mut assignor = Assignor::new(members, subtopologies, standby_replicas);
    if !members.is_empty() {
        assignor.assign_active(tasks_of(subtopologies, |_| true));
        if standby_replicas > 0 {
            assignor.assign_standby(tasks_of(subtopologies, |subtopology| subtopology.is_stateful));
        }
    }
    members.keys().cloned().zip(assignor.processes.into_tasks()).collect()
}

/// In the order of subtopologies, then partitions.
fn tasks_of(
    subtopologies: &BTreeMap<Str, SubtopologySpec>,
    wanted: impl Fn(&SubtopologySpec) -> bool,
) -> Vec<TaskId> {
    let wanted = subtopologies.iter().filter(|(_, subtopology)| wanted(subtopology));
    wanted
        .flat_map(|(id, subtopology)| {
            (0..subtopology.tasks).map(|partition| TaskId { subtopology: id.clone(), partition })
        })
        .collect()
}

/// How many tasks a member may have while others have room: what is left to give, by those who can still take.
struct Quota {
    tasks: usize,
    members: usize,
}

impl Quota {
    fn per_member(&self) -> usize {
        if self.members == 0 { 0 } else { self.tasks.div_ceil(self.members) }
    }

    /// A member has so many now: if that is its share, the rest is shared among the others.
    fn given(&mut self, tasks: usize) {
        if tasks == self.per_member() && self.members > 0 {
            self.members -= 1;
            self.tasks = self.tasks.saturating_sub(tasks);
        }
    }
}

struct Assignor<'a> {
    /// Member by index, in the order of the ids.
    processes: Processes,
    standby_replicas: usize,
    active_quota: Quota,
    total_quota: Quota,
    previous_active: BTreeMap<&'a TaskId, usize>,
    previous_standby: BTreeMap<&'a TaskId, Vec<usize>>,
}

impl<'a> Assignor<'a> {
    fn new(
        members: &BTreeMap<Str, MemberSpec<'a>>,
        subtopologies: &BTreeMap<Str, SubtopologySpec>,
        standby_replicas: usize,
    ) -> Self {
        let count = |subtopology: &SubtopologySpec| usize::try_from(subtopology.tasks).unwrap_or(0);
        let active: usize = subtopologies.values().map(count).sum();
        let stateful: usize = subtopologies.values().filter(|s| s.is_stateful).map(count).sum();
        let (mut previous_active, mut previous_standby) = (BTreeMap::new(), BTreeMap::<_, Vec<usize>>::new());
        for (member, spec) in members.values().enumerate() {
            previous_active.extend(spec.tasks.active.iter().map(|task| (task, member)));
            for task in &spec.tasks.standby {
                previous_standby.entry(task).or_default().push(member);
            }
        }
        Self {
            processes: Processes::new(members.values().map(|member| member.process_id)),
            standby_replicas,
            active_quota: Quota { tasks: active, members: members.len() },
            total_quota: Quota { tasks: active + stateful * standby_replicas, members: members.len() },
            previous_active,
            previous_standby,
        }
    }

    fn assign_active(&mut self, mut tasks: Vec<TaskId>) {
        tasks.sort_by(|a, b| (a.partition, &a.subtopology).cmp(&(b.partition, &b.subtopology)));
        tasks.retain(|task| {
            let member = self.previous_active.get(task).copied();
            !self.give_back(member, task)
        });
        tasks.retain(|task| {
            let member = self.least_loaded_follower(task, false);
            !self.give_back(member, task)
        });
        tasks.sort();
        let mut by_load = ByLoad::new(&self.processes);
        for task in tasks {
            if let Some(process) = by_load.take_first() {
                let given = self.processes.give_to_process(process, &task, true);
                self.active_quota.given(given);
                self.total_quota.given(given);
                by_load.put(&self.processes, process);
            }
        }
    }

    /// Has an active task stay with a member, or come where its state is, unless that member has its share.
    fn give_back(&mut self, member: Option<usize>, task: &TaskId) -> bool {
        let quota = self.active_quota.per_member();
        let Some(member) = member.filter(|member| self.processes.tasks_of(*member) < quota) else {
            return false;
        };
        let given = self.processes.give(member, task, true);
        self.active_quota.given(given);
        self.total_quota.given(given);
        true
    }

    fn assign_standby(&mut self, mut tasks: Vec<TaskId>) {
        tasks.sort_by(|a, b| (b.partition, &b.subtopology).cmp(&(a.partition, &a.subtopology)));
        let mut rest = Vec::new();
        for task in tasks {
            let mut left = self.standby_replicas;
            while left > 0 && self.keep_standby(&task) {
                left -= 1;
            }
            if left > 0 {
                rest.push((task, left));
            }
        }
        rest.sort_by(|a, b| b.0.cmp(&a.0));
        let mut by_load = ByLoad::new(&self.processes);
        for (task, replicas) in rest {
            for _ in 0..replicas {
                // Where every process has the task, there is no use for one more replica.
                let Some(process) = by_load.take_first_without(&self.processes, &task) else { break };
                let given = self.processes.give_to_process(process, &task, false);
                self.total_quota.given(given);
                by_load.put(&self.processes, process);
            }
        }
    }

    /// Has a standby be where the task's state is, unless that member has its share.
    fn keep_standby(&mut self, task: &TaskId) -> bool {
        let quota = self.total_quota.per_member();
        let can = |assignor: &Self, member: &usize| {
            !assignor.processes.process_has(*member, task) && assignor.processes.tasks_of(*member) < quota
        };
        let member = self.previous_active.get(task).copied().filter(|member| can(self, member));
        let member =
            member.or_else(|| self.least_loaded_follower(task, true).filter(|member| can(self, member)));
        let Some(member) = member else { return false };
        let given = self.processes.give(member, task, false);
        self.total_quota.given(given);
        true
    }

    /// Of those that follow the task's state, the least loaded; with `without_task`, one whose process has it not yet.
    fn least_loaded_follower(&self, task: &TaskId, without_task: bool) -> Option<usize> {
        let followers = self.previous_standby.get(task)?;
        let mut best = *followers.first()?;
        for member in followers.iter().copied().skip(1) {
            let is_lighter = self.processes.load_of(member) < self.processes.load_of(best)
                && self.processes.tasks_of(member) < self.processes.tasks_of(best);
            let is_free = !without_task || !self.processes.process_has(member, task);
            if is_lighter && is_free {
                best = member;
            }
        }
        (!without_task || !self.processes.process_has(best, task)).then_some(best)
    }
}
