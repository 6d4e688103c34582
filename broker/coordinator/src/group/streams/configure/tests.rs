use strata_protocol::messages::StreamsGroupTopologyValue;
use strata_protocol::messages::streams_group_topology_value::CopartitionGroup;

use super::*;

fn names(names: &[&str]) -> Vec<Str> {
    names.iter().map(|name| Str::from(*name)).collect()
}

/// Internal topics; 0 partitions leave the number to the broker.
fn topics(topics: &[(&str, i32)]) -> Vec<TopicInfo> {
    let topics = topics.iter().map(|(name, partitions)| TopicInfo {
        name: Str::from(*name),
        partitions: *partitions,
        ..Default::default()
    });
    topics.collect()
}

fn subtopology(id: &str) -> Subtopology {
    Subtopology { subtopology_id: Str::from(id), ..Default::default() }
}

fn configure(
    subtopologies: Vec<Subtopology>,
    existing: &[(&str, i32)],
) -> Result<ConfiguredTopology, TopologyError> {
    let topology = Topology::new(&StreamsGroupTopologyValue { subtopologies, ..Default::default() })?;
    let partitions = |topic: &str| existing.iter().find(|(name, _)| *name == topic).map(|(_, count)| *count);
    ConfiguredTopology::new(&topology, &partitions)
}

fn problem(configured: &ConfiguredTopology) -> (StatusCode, &str) {
    let problem = configured.problem.as_ref().expect("a problem");
    (problem.code, problem.detail.as_str())
}

/// A word count: lines, through a repartition topic, to counts with state.
fn word_count() -> Vec<Subtopology> {
    vec![
        Subtopology {
            source_topics: names(&["lines"]),
            repartition_sink_topics: names(&["by-word"]),
            ..subtopology("0")
        },
        Subtopology {
            repartition_source_topics: topics(&[("by-word", 0)]),
            state_changelog_topics: topics(&[("counts-changelog", 0)]),
            ..subtopology("1")
        },
    ]
}

#[test]
fn internal_topics_have_the_partitions_of_what_is_upstream() {
    let configured = configure(word_count(), &[("lines", 5)]).unwrap();
    let missing: Vec<_> = configured.missing.iter().map(|t| (t.name.as_str(), t.num_partitions)).collect();
    assert_eq!(missing, [("by-word", 5), ("counts-changelog", 5)]);
    assert_eq!(
        problem(&configured),
        (StatusCode::MissingInternalTopics, "Internal topics are missing: by-word, counts-changelog")
    );
}

#[test]
fn there_are_tasks_once_every_topic_is_there() {
    let existing = [("lines", 5), ("by-word", 5), ("counts-changelog", 5)];
    let configured = configure(word_count(), &existing).unwrap();
    assert!(configured.is_ready());
    let subtopologies = configured.subtopologies.unwrap();
    assert_eq!(
        subtopologies.values().map(|s| (s.tasks, s.is_stateful)).collect::<Vec<_>>(),
        [(5, false), (5, true)]
    );
}

#[test]
fn without_source_topics_nothing_is_decided() {
    let configured = configure(word_count(), &[("by-word", 5)]).unwrap();
    assert_eq!(problem(&configured), (StatusCode::MissingSourceTopics, "Source topics lines are missing."));
    assert!(configured.missing.is_empty() && configured.subtopologies.is_none());
}

#[test]
fn many_missing_topics_are_counted() {
    let sources = Subtopology { source_topics: names(&["d", "b", "a", "e", "c"]), ..subtopology("0") };
    let configured = configure(vec![sources], &[]).unwrap();
    let detail = "Source topics a, b, c and 2 additional topics are missing.";
    assert_eq!(problem(&configured), (StatusCode::MissingSourceTopics, detail));
}

#[test]
fn an_internal_topic_with_other_partitions_is_a_problem() {
    let existing = [("lines", 5), ("by-word", 5), ("counts-changelog", 4)];
    let configured = configure(word_count(), &existing).unwrap();
    let detail = "Existing topic counts-changelog has different number of partitions: expected 5, found 4";
    assert_eq!(problem(&configured), (StatusCode::IncorrectlyPartitionedTopics, detail));
}

/// Two sources and two repartition topics, the second with a fixed number, that must match.
fn join(fixed: i32) -> Vec<Subtopology> {
    vec![
        Subtopology {
            source_topics: names(&["upstream"]),
            repartition_sink_topics: names(&["flexible", "fixed"]),
            ..subtopology("0")
        },
        Subtopology {
            source_topics: names(&["left", "right"]),
            repartition_source_topics: topics(&[("flexible", 0), ("fixed", fixed)]),
            copartition_groups: vec![CopartitionGroup {
                source_topics: vec![0, 1],
                repartition_source_topics: vec![0, 1],
                ..Default::default()
            }],
            ..subtopology("1")
        },
    ]
}

#[test]
fn repartition_topics_follow_the_topics_that_they_are_joined_with() {
    let configured = configure(join(3), &[("upstream", 7), ("left", 3), ("right", 3)]).unwrap();
    let missing: Vec<_> = configured.missing.iter().map(|t| (t.name.as_str(), t.num_partitions)).collect();
    assert_eq!(missing, [("fixed", 3), ("flexible", 3)]);
}

#[test]
fn topics_that_do_not_match_cannot_be_joined() {
    let uneven = configure(join(3), &[("upstream", 7), ("left", 3), ("right", 4)]).unwrap();
    let detail = "Following topics do not have the same number of partitions: [{left=3, right=4}]";
    assert_eq!(problem(&uneven), (StatusCode::IncorrectlyPartitionedTopics, detail));
    let fixed = configure(join(2), &[("upstream", 7), ("left", 3), ("right", 3)]).unwrap();
    let detail = "Number of partitions [2] of repartition topic [fixed] doesn't match number of partitions [3] of the \
                  source topic.";
    assert_eq!(problem(&fixed), (StatusCode::IncorrectlyPartitionedTopics, detail));
}

#[test]
fn loops_and_loose_ends_are_no_topology() {
    let loops = vec![Subtopology {
        repartition_source_topics: topics(&[("round", 0)]),
        repartition_sink_topics: names(&["round"]),
        ..subtopology("0")
    }];
    let error = configure(loops, &[]).unwrap_err();
    assert!(matches!(&error, TopologyError::Invalid(words) if words.contains("loops")), "{error}");
    let loose =
        vec![Subtopology { repartition_source_topics: topics(&[("nowhere", 0)]), ..subtopology("0") }];
    let error = configure(loose, &[]).unwrap_err();
    assert!(
        matches!(&error, TopologyError::Invalid(words) if words.contains("never used as a sink")),
        "{error}"
    );
    let empty = configure(vec![subtopology("0")], &[]).unwrap_err();
    assert_eq!(empty, TopologyError::Invalid("No source topics found for subtopology 0".to_owned()));
}

#[test]
fn what_is_out_of_range_is_refused() {
    for at in [-1, 2, i16::MAX] {
        let mut subtopologies = join(3);
        subtopologies[1].copartition_groups[0].source_topics = vec![at];
        assert!(matches!(configure(subtopologies, &[]), Err(TopologyError::Invalid(_))));
    }
    let mut negative = word_count();
    negative[1].repartition_source_topics[0].partitions = -3;
    assert!(matches!(configure(negative, &[("lines", 1)]), Err(TopologyError::Unexpected(_))));
}
