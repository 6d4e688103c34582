//! Tasks, and who is to run them in which role.

use std::collections::{BTreeMap, BTreeSet};

use strata_protocol::Str;

/// One partition's worth of a subtopology.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    pub subtopology: Str,
    pub partition: i32,
}

/// What an assignor gives to a member, and what a member says that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tasks {
    /// They process records.
    pub active: BTreeSet<TaskId>,
    /// They follow the state of an active task, to take its place.
    pub standby: BTreeSet<TaskId>,
    /// They catch up with the state of an active task that is to move here.
    pub warmup: BTreeSet<TaskId>,
}

/// What a member has been told to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssignedTasks {
    /// With the member epoch at which each became this member's: offsets of a lower epoch are somebody else's (KIP-1071).
    pub active: BTreeMap<TaskId, i32>,
    pub standby: BTreeSet<TaskId>,
    pub warmup: BTreeSet<TaskId>,
}

impl Tasks {
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }

    /// Whether a task is in both, in the same role.
    pub(super) fn overlaps(&self, other: &AssignedTasks) -> bool {
        self.active.iter().any(|task| other.active.contains_key(task))
            || !self.standby.is_disjoint(&other.standby)
            || !self.warmup.is_disjoint(&other.warmup)
    }

    /// Whether both are the same tasks in the same roles.
    pub(super) fn are(&self, other: &AssignedTasks) -> bool {
        self.active.iter().eq(other.active.keys())
            && self.standby == other.standby
            && self.warmup == other.warmup
    }

    /// Whether every task is in the other, in the same role.
    pub(super) fn is_within(&self, other: &AssignedTasks) -> bool {
        self.active.iter().all(|task| other.active.contains_key(task))
            && self.standby.is_subset(&other.standby)
            && self.warmup.is_subset(&other.warmup)
    }
}

impl AssignedTasks {
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.standby.is_empty() && self.warmup.is_empty()
    }

    pub(super) fn extend(&mut self, other: AssignedTasks) {
        self.active.extend(other.active);
        self.standby.extend(other.standby);
        self.warmup.extend(other.warmup);
    }

    /// In whatever role.
    pub(super) fn iter(&self) -> impl Iterator<Item = &TaskId> {
        self.active.keys().chain(&self.standby).chain(&self.warmup)
    }
}

/// The tasks that a message lists by subtopology.
pub(super) fn from_lists<'a>(lists: impl IntoIterator<Item = (&'a Str, &'a [i32])>) -> BTreeSet<TaskId> {
    let tasks = lists.into_iter().flat_map(|(subtopology, partitions)| {
        partitions.iter().map(|partition| TaskId { subtopology: subtopology.clone(), partition: *partition })
    });
    tasks.collect()
}

/// Tasks in their order, as messages list them: each subtopology with its partitions.
pub(super) fn to_lists<'a>(tasks: impl IntoIterator<Item = &'a TaskId>) -> Vec<(Str, Vec<i32>)> {
    let mut lists: Vec<(Str, Vec<i32>)> = Vec::new();
    for task in tasks {
        match lists.last_mut() {
            Some((subtopology, partitions)) if *subtopology == task.subtopology => {
                partitions.push(task.partition)
            }
            _ => lists.push((task.subtopology.clone(), vec![task.partition])),
        }
    }
    lists
}
