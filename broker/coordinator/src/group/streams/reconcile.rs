//! How a member gets from the tasks that it has to those that it is to have, in steps that never run a task twice.
//!
//! ```text
//!            there is a newer target
//!  Stable ────────────────────────────▶ something to give up? ──yes──▶ UnrevokedTasks ── says that it gave it up ─┐
//!    ▲                                     │ no                                                                    │
//!    │                                     ▼                                                                       │
//!    └──────── nobody else has them ◀── take what is free ◀────────────────────────────────────────────────────────┘
//!                                          │ others still have some
//!                                          ▼
//!                                    UnreleasedTasks (looks again at every heartbeat)
//! ```
//!
//! A process counts as one: its members share a state directory, so that a task must have left it in one role before it
//! comes back in another.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use strata_protocol::Str;

use super::member::{MemberState, StreamsMember};
use super::tasks::{AssignedTasks, TaskId, Tasks};

/// What a member is to have, and since which epoch.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) epoch: i32,
    pub(super) tasks: Tasks,
}

/// Tasks that are still somebody's.
#[derive(Debug, Default)]
pub(super) struct Holders<'a> {
    active: HashSet<&'a TaskId>,
    /// In whatever role, in the member's own process.
    own_process: HashSet<&'a TaskId>,
}

impl<'a> Holders<'a> {
    /// As seen by a member of the process.
    pub(super) fn new(members: impl Iterator<Item = &'a StreamsMember>, process_id: &Str) -> Self {
        let mut holders = Self::default();
        for member in members {
            for tasks in [&member.assigned, &member.pending_revocation] {
                holders.active.extend(tasks.active.keys());
                if member.process_id == *process_id {
                    holders.own_process.extend(tasks.iter());
                }
            }
        }
        holders
    }
}

/// The member after this heartbeat, in which it said that it has `owned` (or nothing about it). `Err` if it must start
/// over, as it is in a state that this version does not know.
pub(super) fn reconcile(
    member: &StreamsMember,
    target: &Target,
    owned: Option<&Tasks>,
    holders: &Holders<'_>,
) -> Result<StreamsMember, ()> {
    let epoch = match member.state {
        MemberState::Stable if member.epoch == target.epoch => return Ok(member.clone()),
        MemberState::Stable | MemberState::UnreleasedTasks => member.epoch,
        MemberState::UnrevokedTasks => match owned {
            Some(owned) if !owned.overlaps(&member.pending_revocation) => member.epoch + 1,
            _ => return Ok(member.clone()),
        },
        MemberState::Unknown => match owned {
            Some(owned) if owned.is_empty() => target.epoch,
            _ => return Err(()),
        },
    };
    Ok(next_step(member, epoch, target, owned, holders))
}

fn next_step(
    member: &StreamsMember,
    epoch: i32,
    target: &Target,
    owned: Option<&Tasks>,
    holders: &Holders<'_>,
) -> StreamsMember {
    let held_by_process = |task: &TaskId| holders.own_process.contains(task);
    let active = split_active(&member.assigned.active, target, |task| {
        holders.active.contains(task) || held_by_process(task)
    });
    let standby = split(&member.assigned.standby, &target.tasks.standby, held_by_process);
    let warmup = split(&member.assigned.warmup, &target.tasks.warmup, held_by_process);
    let has_unreleased = active.has_unreleased || standby.has_unreleased || warmup.has_unreleased;

    let revoked = AssignedTasks { active: active.revoked, standby: standby.revoked, warmup: warmup.revoked };
    let mut assigned = AssignedTasks { active: active.kept, standby: standby.kept, warmup: warmup.kept };
    if !revoked.is_empty() && owned.is_none_or(|owned| owned.overlaps(&revoked)) {
        return member.moved_to(epoch, MemberState::UnrevokedTasks, assigned, revoked);
    }
    assigned.extend(AssignedTasks { active: active.taken, standby: standby.taken, warmup: warmup.taken });
    let state = if has_unreleased { MemberState::UnreleasedTasks } else { MemberState::Stable };
    member.moved_to(target.epoch, state, assigned, AssignedTasks::default())
}

/// What becomes of the tasks of one role.
#[derive(Default)]
struct Split<T> {
    kept: T,
    revoked: T,
    /// New ones that are free.
    taken: T,
    has_unreleased: bool,
}

fn split(
    current: &BTreeSet<TaskId>,
    target: &BTreeSet<TaskId>,
    is_held: impl Fn(&TaskId) -> bool,
) -> Split<BTreeSet<TaskId>> {
    let new = target.difference(current);
    let (held, free): (Vec<&TaskId>, Vec<&TaskId>) = new.partition(|task| is_held(task));
    Split {
        kept: current.intersection(target).cloned().collect(),
        revoked: current.difference(target).cloned().collect(),
        taken: free.into_iter().cloned().collect(),
        has_unreleased: !held.is_empty(),
    }
}

/// The same for active tasks: those that are kept keep the epoch at which they came.
fn split_active(
    current: &BTreeMap<TaskId, i32>,
    target: &Target,
    is_held: impl Fn(&TaskId) -> bool,
) -> Split<BTreeMap<TaskId, i32>> {
    let wanted = &target.tasks.active;
    let (kept, revoked) = current
        .iter()
        .map(|(task, epoch)| (task.clone(), *epoch))
        .partition(|(task, _)| wanted.contains(task));
    let new = wanted.iter().filter(|task| !current.contains_key(task));
    let (held, free): (Vec<&TaskId>, Vec<&TaskId>) = new.partition(|task| is_held(task));
    Split {
        kept,
        revoked,
        taken: free.into_iter().map(|task| (task.clone(), target.epoch)).collect(),
        has_unreleased: !held.is_empty(),
    }
}
