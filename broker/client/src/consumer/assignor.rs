//! Who of a group's members reads which partition. Pure: the group's leader runs it, the others get the outcome.

use std::collections::{BTreeMap, HashMap, HashSet};

use strata_types::{TopicName, TopicPartition};

/// How partitions are shared out. All members of a group must have one in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// Topic by topic, in ranges. Everything is revoked before everything is assigned anew.
    Range,
    /// As even as can be with as few moves as can be; only what moves is revoked, one rebalance before it is assigned
    /// to its new owner (KIP-429).
    CooperativeSticky,
}

impl Assignor {
    /// Its name in the protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        [Self::Range, Self::CooperativeSticky].into_iter().find(|assignor| assignor.name() == name)
    }

    pub(crate) fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Shares out the topics' partitions; topics that no member wants or that do not exist have none.
    pub(crate) fn assign(self, members: &[GroupMember], partitions: &Topics) -> Assignment {
        match self {
            Self::Range => range(members, partitions),
            Self::CooperativeSticky => cooperative_sticky(members, partitions),
        }
    }
}

/// How many partitions each topic has.
pub(crate) type Topics = BTreeMap<TopicName, usize>;

/// Partitions by member id.
pub(crate) type Assignment = BTreeMap<String, Vec<TopicPartition>>;

/// A member as it joined.
#[derive(Clone, Debug)]
pub(crate) struct GroupMember {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) topics: Vec<TopicName>,
    /// What it holds since the generation given, -1 if it does not say.
    pub(crate) owned: Vec<TopicPartition>,
    pub(crate) generation: i32,
}

fn range(members: &[GroupMember], topics: &Topics) -> Assignment {
    let mut assignment: Assignment = members.iter().map(|member| (member.id.clone(), Vec::new())).collect();
    let mut sorted: Vec<_> = members.iter().collect();
    // Static members keep their place over restarts, as their instance id does not change.
    sorted.sort_by_key(|member| (member.instance_id.is_none(), member.instance_id.as_ref(), &member.id));
    for (topic, count) in topics {
        let takers: Vec<_> = sorted.iter().filter(|member| member.topics.contains(topic)).collect();
        let mut next = 0;
        for (index, member) in takers.iter().enumerate() {
            let share = count / takers.len() + usize::from(index < count % takers.len());
            let partitions = (next..next + share).map(|p| TopicPartition::new(topic.clone(), p as i32));
            assignment.entry(member.id.clone()).or_default().extend(partitions);
            next += share;
        }
    }
    assignment
}

fn cooperative_sticky(members: &[GroupMember], topics: &Topics) -> Assignment {
    let owners = owners(members, topics);
    let mut shares: Vec<Vec<TopicPartition>> = vec![Vec::new(); members.len()];
    for (topic, count) in topics {
        for partition in (0..*count).map(|p| TopicPartition::new(topic.clone(), p as i32)) {
            let fewest =
                || takers(members, topic).min_by_key(|index| (shares[*index].len(), &members[*index].id));
            if let Some(index) = owners.get(&partition).copied().or_else(fewest) {
                shares[index].push(partition);
            }
        }
    }
    balance(members, &mut shares);
    // What moves is free for one generation, until its owner has let it go.
    for (index, share) in shares.iter_mut().enumerate() {
        share.retain(|partition| owners.get(partition).is_none_or(|owner| *owner == index));
    }
    members.iter().zip(shares).map(|(member, share)| (member.id.clone(), share)).collect()
}

/// The member that holds each partition and may keep it. Of two that claim one, the later generation is right; two of
/// the same generation are both wrong.
fn owners(members: &[GroupMember], topics: &Topics) -> HashMap<TopicPartition, usize> {
    let mut owners: HashMap<TopicPartition, usize> = HashMap::new();
    let mut contested = HashSet::new();
    for (index, member) in members.iter().enumerate() {
        for partition in &member.owned {
            let exists =
                topics.get(&partition.topic).is_some_and(|count| (partition.partition as usize) < *count);
            if !exists || !member.topics.contains(&partition.topic) {
                continue;
            }
            let Some(other) = owners.get(partition).map(|other| members[*other].generation) else {
                owners.insert(partition.clone(), index);
                continue;
            };
            if other < member.generation {
                owners.insert(partition.clone(), index);
                contested.remove(partition);
            } else if other == member.generation {
                contested.insert(partition.clone());
            }
        }
    }
    owners.retain(|partition, _| !contested.contains(partition));
    owners
}

fn takers<'a>(members: &'a [GroupMember], topic: &'a TopicName) -> impl Iterator<Item = usize> + 'a {
    (0..members.len()).filter(|index| members[*index].topics.contains(topic))
}

/// Moves partitions from those who have most to those who have fewest, for as long as that makes it more even.
fn balance(members: &[GroupMember], shares: &mut [Vec<TopicPartition>]) {
    loop {
        let mut best: Option<(usize, usize, usize)> = None;
        for from in 0..shares.len() {
            for (position, partition) in shares[from].iter().enumerate().rev() {
                let to = takers(members, &partition.topic)
                    .min_by_key(|index| (shares[*index].len(), &members[*index].id));
                let Some(to) = to.filter(|to| shares[*to].len() + 1 < shares[from].len()) else { continue };
                let gain = shares[from].len() - shares[to].len();
                if best.is_none_or(|(f, t, _)| shares[f].len() - shares[t].len() < gain) {
                    best = Some((from, to, position));
                }
                break;
            }
        }
        let Some((from, to, position)) = best else { return };
        let partition = shares[from].remove(position);
        shares[to].push(partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    fn partitions(name: &str, numbers: impl IntoIterator<Item = i32>) -> Vec<TopicPartition> {
        numbers.into_iter().map(|number| TopicPartition::new(topic(name), number)).collect()
    }

    fn member(id: &str, topics: &[&str], owned: Vec<TopicPartition>) -> GroupMember {
        let topics = topics.iter().map(|name| topic(name)).collect();
        GroupMember { id: id.into(), instance_id: None, topics, owned, generation: 1 }
    }

    fn topics(counts: &[(&str, usize)]) -> Topics {
        counts.iter().map(|(name, count)| (topic(name), *count)).collect()
    }

    #[test]
    fn range_gives_the_first_members_one_more() {
        let members = [member("b", &["t"], vec![]), member("a", &["t"], vec![]), member("c", &["t"], vec![])];
        let assignment = Assignor::Range.assign(&members, &topics(&[("t", 5)]));
        assert_eq!(assignment["a"], partitions("t", [0, 1]));
        assert_eq!(assignment["b"], partitions("t", [2, 3]));
        assert_eq!(assignment["c"], partitions("t", [4]));
    }

    #[test]
    fn range_leaves_out_who_does_not_want_the_topic() {
        let members = [member("a", &["t"], vec![]), member("b", &["u"], vec![])];
        let assignment = Assignor::Range.assign(&members, &topics(&[("t", 2), ("u", 1)]));
        assert_eq!(assignment["a"], partitions("t", [0, 1]));
        assert_eq!(assignment["b"], partitions("u", [0]));
    }

    #[test]
    fn sticky_frees_what_moves_and_assigns_it_one_generation_later() {
        let topics = topics(&[("t", 4)]);
        let mut members = [member("a", &["t"], partitions("t", 0..4)), member("b", &["t"], vec![])];
        let first = Assignor::CooperativeSticky.assign(&members, &topics);
        assert_eq!((first["a"].len(), first["b"].len()), (2, 0), "two are free until a lets them go");
        members[0].owned = first["a"].clone();
        let second = Assignor::CooperativeSticky.assign(&members, &topics);
        assert_eq!(second["a"], first["a"], "a keeps what it had");
        assert_eq!(second["b"].len(), 2);
    }

    #[test]
    fn sticky_moves_nothing_when_a_member_leaves() {
        let members =
            [member("a", &["t"], partitions("t", [0, 1])), member("b", &["t"], partitions("t", [2, 3]))];
        let assignment = Assignor::CooperativeSticky.assign(&members, &topics(&[("t", 6)]));
        assert!(assignment["a"].starts_with(&partitions("t", [0, 1])));
        assert!(assignment["b"].starts_with(&partitions("t", [2, 3])));
        assert_eq!((assignment["a"].len(), assignment["b"].len()), (3, 3));
    }

    #[test]
    fn sticky_believes_the_later_generation_and_nobody_in_a_draw() {
        let topics = topics(&[("t", 1)]);
        let mut members =
            [member("a", &["t"], partitions("t", [0])), member("b", &["t"], partitions("t", [0]))];
        members[1].generation = 2;
        let assignment = Assignor::CooperativeSticky.assign(&members, &topics);
        assert_eq!((assignment["a"].len(), assignment["b"].len()), (0, 1));
        members[0].generation = 2;
        assert!(owners(&members, &topics).is_empty());
    }

    #[test]
    fn sticky_shares_evenly_also_where_members_want_different_topics() {
        let members = [member("a", &["t", "u"], vec![]), member("b", &["u"], vec![])];
        let assignment = Assignor::CooperativeSticky.assign(&members, &topics(&[("t", 3), ("u", 3)]));
        assert_eq!((assignment["a"].len(), assignment["b"].len()), (3, 3));
    }
}
