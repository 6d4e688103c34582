use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn id(prefix: &str, number: usize) -> Str {
    Str::from(format!("{prefix}{number:03}"))
}

/// Members by number, with their processes.
fn assign_to(
    members: &BTreeMap<usize, usize>,
    previous: &BTreeMap<Str, Tasks>,
    subtopologies: &[(i32, bool)],
    standby_replicas: usize,
) -> BTreeMap<Str, Tasks> {
    let nothing = Tasks::default();
    let process_ids: BTreeMap<usize, Str> =
        members.values().map(|process| (*process, id("p", *process))).collect();
    let specs = members.iter().map(|(member, process)| {
        let name = id("m", *member);
        let tasks = previous.get(&name).unwrap_or(&nothing);
        (name, MemberSpec { process_id: &process_ids[process], tasks })
    });
    let subtopologies = subtopologies.iter().enumerate().map(|(number, (tasks, is_stateful))| {
        (id("", number), SubtopologySpec { tasks: *tasks, is_stateful: *is_stateful })
    });
    assign(&specs.collect(), &subtopologies.collect(), standby_replicas)
}

fn active_counts(assigned: &BTreeMap<Str, Tasks>) -> Vec<usize> {
    assigned.values().map(|tasks| tasks.active.len()).collect()
}

#[test]
fn tasks_stay_where_they_are_when_members_come() {
    let first = assign_to(&BTreeMap::from([(0, 0)]), &BTreeMap::new(), &[(2, false), (2, true)], 0);
    assert_eq!(active_counts(&first), [4]);
    let second = assign_to(&BTreeMap::from([(0, 0), (1, 1)]), &first, &[(2, false), (2, true)], 0);
    assert_eq!(active_counts(&second), [2, 2]);
    assert!(second[&id("m", 0)].active.is_subset(&first[&id("m", 0)].active));
}

#[test]
fn a_standby_becomes_active_when_the_active_member_goes() {
    let two = BTreeMap::from([(0, 0), (1, 1)]);
    let before = assign_to(&two, &BTreeMap::new(), &[(4, true)], 1);
    assert_eq!(before[&id("m", 0)].active, before[&id("m", 1)].standby);
    let after = assign_to(&BTreeMap::from([(1, 1), (2, 2)]), &before, &[(4, true)], 1);
    // What it had active and what it followed are four tasks, of which two are its share: those that it had.
    assert_eq!(after[&id("m", 1)].active, before[&id("m", 1)].active);
    assert_eq!(after[&id("m", 2)].standby, before[&id("m", 1)].active);
}

#[test]
fn members_of_one_process_never_follow_each_other() {
    let one_process = BTreeMap::from([(0, 0), (1, 0)]);
    let assigned = assign_to(&one_process, &BTreeMap::new(), &[(3, true)], 1);
    assert!(assigned.values().all(|tasks| tasks.standby.is_empty()));
}

#[test]
fn only_tasks_with_state_have_standbys() {
    let three = BTreeMap::from([(0, 0), (1, 1), (2, 2)]);
    let assigned = assign_to(&three, &BTreeMap::new(), &[(3, false), (3, true)], 2);
    let standbys: usize = assigned.values().map(|tasks| tasks.standby.len()).sum();
    assert_eq!(standbys, 6);
    assert!(assigned.values().flat_map(|tasks| &tasks.standby).all(|task| task.subtopology == id("", 1)));
}

proptest! {
    /// Whatever members come and go.
    #[test]
    fn every_task_is_active_once_and_no_process_has_it_twice(
        subtopologies in prop::collection::vec((1i32..7, any::<bool>()), 1..4),
        generations in prop::collection::vec(prop::collection::btree_map(0usize..8, 0usize..5, 1..7), 1..6),
        standby_replicas in 0usize..3,
    ) {
        let mut assigned = BTreeMap::new();
        for members in &generations {
            assigned = assign_to(members, &assigned, &subtopologies, standby_replicas);
            let mut active = BTreeSet::new();
            let mut by_process = BTreeSet::new();
            for (member, process) in members {
                let tasks = &assigned[&id("m", *member)];
                for task in &tasks.active {
                    prop_assert!(active.insert(task.clone()), "{task:?} is active twice");
                }
                for task in tasks.active.iter().chain(&tasks.standby) {
                    prop_assert!(by_process.insert((process, task.clone())), "{process} has {task:?} twice");
                }
            }
            let total: i32 = subtopologies.iter().map(|(tasks, _)| tasks).sum();
            prop_assert_eq!(active.len(), usize::try_from(total).unwrap());
            // As many standbys as wanted, or as there are other processes.
            let processes = members.values().collect::<BTreeSet<_>>().len();
            let stateful: i32 = subtopologies.iter().filter(|(_, is_stateful)| *is_stateful).map(|(tasks, _)| tasks).sum();
            let standbys: usize = assigned.values().map(|tasks| tasks.standby.len()).sum();
            prop_assert_eq!(standbys, usize::try_from(stateful).unwrap() * standby_replicas.min(processes - 1));
        }
    }

    /// Nothing moves while nothing changes: after one more round a group is at rest.
    #[test]
    fn an_assignment_is_its_own_successor(
        subtopologies in prop::collection::vec((1i32..7, any::<bool>()), 1..4),
        members in prop::collection::btree_map(0usize..8, 0usize..5, 1..7),
        standby_replicas in 0usize..3,
    ) {
        let first = assign_to(&members, &BTreeMap::new(), &subtopologies, standby_replicas);
        let second = assign_to(&members, &first, &subtopologies, standby_replicas);
        for (member, tasks) in &first {
            prop_assert_eq!(&second[member].active, &tasks.active);
        }
    }
}
