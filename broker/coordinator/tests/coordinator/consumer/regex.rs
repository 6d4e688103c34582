//! Subscriptions by regular expression.

use std::sync::Arc;

use strata_coordinator::{GroupRequest, TopicAccess};
use strata_protocol::messages::ConsumerGroupHeartbeatRequest;
use strata_types::ErrorCode;

use super::{Topics, beat, describe, join, owning, refused, set_topics, shell, stay, told};

fn matching(heartbeat: ConsumerGroupHeartbeatRequest, regex: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some(regex.into()),
        subscribed_topic_names: None,
        ..heartbeat
    }
}

#[test]
fn topics_are_found_after_the_join_and_told_at_the_next_heartbeat() {
    let mut shell = shell(&[("ab", 1), ("ac", 1), ("b", 1)]);
    assert_eq!(told(&beat(&mut shell, matching(join("m", &[]), "a.*")), "ab"), (1, Some(vec![])));
    shell.advance(0);
    let found = beat(&mut shell, stay("m", 1));
    assert_eq!((told(&found, "ab"), told(&found, "b")), ((2, Some(vec![0])), (2, Some(vec![]))));
    assert_eq!(told(&found, "ac").1, Some(vec![0]));
    assert_eq!(describe(&mut shell).members[0].subscribed_topic_regex.as_deref(), Some("a.*"));
}

#[test]
fn what_is_no_regular_expression_is_refused() {
    let mut shell = shell(&[("a", 1)]);
    let (code, message) = refused(&mut shell, matching(join("m", &[]), "["));
    assert_eq!(code, ErrorCode::InvalidRegularExpression);
    assert!(message.starts_with("SubscribedTopicRegex `[` is not a valid regular expression: "), "{message}");
    assert!(shell.log.is_empty());
}

#[test]
fn an_expression_that_backtracks_in_other_engines_is_one_pass_over_the_names() {
    // An engine that tries every way to part the name needs 2^60 steps to see that the last letter is missing.
    const NAME: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let mut shell = shell(&[(NAME, 1)]);
    beat(&mut shell, matching(join("m", &[]), "(a+)+b|a+"));
    shell.advance(0);
    assert_eq!(told(&beat(&mut shell, stay("m", 1)), NAME), (2, Some(vec![0])));
}

#[test]
fn an_expression_that_grows_when_it_is_compiled_is_refused() {
    let mut shell = shell(&[("a", 1)]);
    let (code, _) = refused(&mut shell, matching(join("m", &[]), "((a{1000}){1000}){1000}"));
    assert_eq!(code, ErrorCode::InvalidRegularExpression);
}

#[test]
fn new_topics_are_found_at_most_every_ten_seconds() {
    let mut shell = shell(&[("a", 1)]);
    beat(&mut shell, matching(join("m", &[]), "a.*"));
    shell.advance(0);
    beat(&mut shell, stay("m", 1));
    set_topics(&mut shell, Topics::new(2, &[("a", 1), ("aa", 1)]));
    shell.advance(5_000);
    beat(&mut shell, stay("m", 2));
    shell.advance(5_000);
    assert_eq!(told(&beat(&mut shell, stay("m", 2)), "aa"), (2, None), "too soon");
    shell.advance(1);
    beat(&mut shell, stay("m", 2));
    shell.advance(0);
    assert_eq!(told(&beat(&mut shell, stay("m", 2)), "aa"), (3, Some(vec![0])));
}

#[test]
fn an_expression_that_others_brought_counts_at_once() {
    let mut shell = shell(&[("a", 2)]);
    beat(&mut shell, matching(join("m", &[]), "a"));
    shell.advance(0);
    beat(&mut shell, stay("m", 1));
    assert_eq!(told(&beat(&mut shell, matching(join("n", &[]), "a")), "a").0, 3);
    assert_eq!(told(&beat(&mut shell, stay("m", 2)), "a"), (2, Some(vec![0])));
    beat(&mut shell, owning("m", 2, "a", &[0]));
    assert_eq!(told(&beat(&mut shell, stay("n", 3)), "a"), (3, Some(vec![1])));
}

#[test]
fn what_was_found_goes_with_the_last_member_that_asked_for_it() {
    let mut shell = shell(&[("a", 1)]);
    beat(&mut shell, matching(join("m", &[]), "a"));
    shell.advance(0);
    beat(&mut shell, stay("m", 1));
    beat(&mut shell, join("n", &["b"]));
    beat(&mut shell, stay("m", -1));
    let before = format!("{:?}", super::group(&shell));
    assert!(!before.contains("ResolvedRegex"), "{before}");
    shell.restart();
    assert_eq!(format!("{:?}", super::group(&shell)), before);
}

#[test]
fn names_and_an_expression_can_stand_together() {
    let mut shell = shell(&[("a", 1), ("b", 1)]);
    let both =
        ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("a".into()), ..join("m", &["b"]) };
    assert_eq!(told(&beat(&mut shell, both), "b").1, Some(vec![0]));
    shell.advance(0);
    assert_eq!(told(&beat(&mut shell, stay("m", 2)), "a"), (3, Some(vec![0])));
}

/// Sees topics that are named by one letter.
#[derive(Debug)]
struct OneLetter;

impl TopicAccess for OneLetter {
    fn may_describe(&self, topic: &str) -> bool {
        topic.len() == 1
    }
}

#[test]
fn only_topics_that_the_member_may_see_are_found() {
    let mut shell = shell(&[("a", 1), ("aa", 1)]);
    let new_member = shell.new_member();
    let GroupRequest::ConsumerGroupHeartbeat { request, client, .. } =
        super::request(matching(join("m", &[]), "a.*"), new_member)
    else {
        unreachable!()
    };
    let access = Some(Arc::new(OneLetter) as Arc<dyn TopicAccess>);
    let reply = shell.ask(GroupRequest::ConsumerGroupHeartbeat { request, client, new_member, access });
    assert!(shell.take(reply).is_some());
    shell.advance(0);
    let found = beat(&mut shell, stay("m", 1));
    assert_eq!((told(&found, "a").1, told(&found, "aa").1), (Some(vec![0]), Some(vec![])));
}
