//! Processes of an application, the members (threads) in them, and what both have been given so far.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use strata_protocol::Str;

use crate::group::streams::tasks::{TaskId, Tasks};

pub(super) struct Processes {
    members: Vec<Member>,
    processes: Vec<Process>,
}

struct Member {
    process: usize,
    count: usize,
    tasks: Tasks,
}

#[derive(Default)]
struct Process {
    /// By how many tasks they have.
    members: BTreeSet<(usize, usize)>,
    /// In whatever role.
    tasks: HashSet<TaskId>,
    count: usize,
}

/// Tasks by members: compared as a fraction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    tasks: usize,
    members: usize,
}

impl Ord for Load {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.tasks * other.members).cmp(&(other.tasks * self.members))
    }
}

impl PartialOrd for Load {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Load {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Load {}

impl Processes {
    /// One process id for each member.
    pub(super) fn new<'a>(process_ids: impl Iterator<Item = &'a Str>) -> Self {
        let (mut members, mut processes) = (Vec::new(), Vec::<Process>::new());
        let mut known = BTreeMap::new();
        for process_id in process_ids {
            let process = *known.entry(process_id).or_insert_with(|| {
                processes.push(Process::default());
                processes.len() - 1
            });
            processes[process].members.insert((0, members.len()));
            members.push(Member { process, count: 0, tasks: Tasks::default() });
        }
        Self { members, processes }
    }

    pub(super) fn tasks_of(&self, member: usize) -> usize {
        self.members[member].count
    }

    /// Of the member's process.
    pub(super) fn load_of(&self, member: usize) -> Load {
        self.load(self.members[member].process)
    }

    pub(super) fn process_has(&self, member: usize, task: &TaskId) -> bool {
        self.processes[self.members[member].process].tasks.contains(task)
    }

    /// How many tasks the member has then.
    pub(super) fn give(&mut self, member: usize, task: &TaskId, active: bool) -> usize {
        let Member { process, count, tasks } = &mut self.members[member];
        let process = &mut self.processes[*process];
        process.members.remove(&(*count, member));
        *count += 1;
        process.members.insert((*count, member));
        process.count += 1;
        process.tasks.insert(task.clone());
        let role = if active { &mut tasks.active } else { &mut tasks.standby };
        role.insert(task.clone());
        *count
    }

    /// Gives the task to the least loaded member of a process.
    pub(super) fn give_to_process(&mut self, process: usize, task: &TaskId, active: bool) -> usize {
        match self.processes[process].members.first() {
            Some((_, member)) => self.give(*member, task, active),
            None => 0, // a process is known by its members
        }
    }

    /// By member.
    pub(super) fn into_tasks(self) -> impl Iterator<Item = Tasks> {
        self.members.into_iter().map(|member| member.tasks)
    }

    fn load(&self, process: usize) -> Load {
        let process = &self.processes[process];
        Load { tasks: process.count, members: process.members.len() }
    }
}

/// Processes, the least loaded first. What is taken out is given a task, and put back.
pub(super) struct ByLoad(BTreeSet<(Load, usize)>);

impl ByLoad {
    pub(super) fn new(processes: &Processes) -> Self {
        Self((0..processes.processes.len()).map(|process| (processes.load(process), process)).collect())
    }

    pub(super) fn take_first(&mut self) -> Option<usize> {
        self.0.pop_first().map(|(_, process)| process)
    }

    pub(super) fn take_first_without(&mut self, processes: &Processes, task: &TaskId) -> Option<usize> {
        let free = self
            .0
            .iter()
            .find(|(_, process)| !processes.processes[*process].tasks.contains(task))
            .copied()?;
        self.0.remove(&free);
        Some(free.1)
    }

    pub(super) fn put(&mut self, processes: &Processes, process: usize) {
        self.0.insert((processes.load(process), process));
    }
}
