//! Subscriptions by regular expression: the coordinator finds the topics, in RE2's syntax, in linear time.
//!
//! A new expression is checked when its member brings it, and resolved right after the answer, as one operation for all
//! expressions of the group; so one change of topics makes one rebalance. Topics that come later are found when members
//! send heartbeats, at most every ten seconds.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};
use strata_protocol::Str;
use strata_types::{ErrorCode, TimestampMs};

use super::record::{epoch_record, regex_record};
use super::{ConsumerGroup, ConsumerMember, decrement, increment};
use crate::group::kind::Failure;
use crate::group::metadata::group_hash;
use crate::group::timers::Timer;
use crate::group::{GroupOutcome, GroupShard};

/// The least time between two resolutions in a group; Kafka's constant.
const REFRESH_INTERVAL_MIN_MS: i64 = 10_000;
/// What a compiled expression may take.
const COMPILED_BYTES_MAX: usize = 1024 * 1024;

/// The topics that a regular expression stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedRegex {
    pub(super) topics: BTreeSet<Str>,
    /// Of the metadata that they were found in.
    pub(super) version: i64,
    pub(super) timestamp: TimestampMs,
}

/// What became of a member's regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RegexChange {
    None,
    /// It is another one, whose topics are yet to be found.
    Unresolved,
    /// It is another one whose topics are known, or it has none any more.
    Resolved,
}

impl RegexChange {
    pub(super) fn is_change(self) -> bool {
        self != Self::None
    }
}

impl GroupShard {
    /// Takes in a member's regular expression, and has the group's resolved where that is due.
    pub(super) fn update_regexes(
        &mut self,
        now: TimestampMs,
        group: &ConsumerGroup,
        before: &ConsumerMember,
        member: &ConsumerMember,
        outcome: &mut GroupOutcome,
    ) -> Result<RegexChange, Failure> {
        let (old, new) = (before.regex(), member.regex());
        let mut change = RegexChange::None;
        let mut regexes = group.regexes.clone();
        let mut refresh = false;
        if before.regex != member.regex {
            change = RegexChange::Unresolved;
            if let Some(old) = old {
                decrement(&mut regexes, old);
                if !regexes.contains_key(old) {
                    outcome.append(regex_record(&group.core.id, old, None));
                }
            }
            match new {
                Some(new) => {
                    if !regexes.contains_key(new) {
                        self.check_regex(new, regexes.len())?;
                        refresh = true;
                    } else if group.resolved.contains_key(new) {
                        change = RegexChange::Resolved;
                    }
                    increment(&mut regexes, new);
                }
                None if old.is_some() => change = RegexChange::Resolved,
                None => {}
            }
        }
        if regexes.is_empty() {
            return Ok(change);
        }
        let last = group.resolved.values().map(|resolved| resolved.timestamp).max();
        let since_last = last.map_or(i64::MAX, |last| now.saturating_sub(last));
        if since_last > REFRESH_INTERVAL_MIN_MS {
            let version = group.resolved.values().map(|resolved| resolved.version).max().unwrap_or(-1);
            let due = refresh
                || regexes.len() != group.resolved.len()
                || version < self.view_version()
                || since_last > self.config.consumer.regex_refresh_interval_ms;
            if due {
                self.timers.set(&group.core.id, Timer::Regex, now);
            }
        }
        Ok(change)
    }

    /// Finds the topics of all the group's regular expressions.
    pub(super) fn resolve_regexes(
        &mut self,
        now: TimestampMs,
        group: &ConsumerGroup,
        outcome: &mut GroupOutcome,
    ) {
        let id = &group.core.id;
        let access = self.metadata.take_access(id);
        let view = self.metadata.view();
        let version = self.view_version();
        let mut changed = false;
        let mut topics: BTreeSet<Str> = group.core.subscribers.keys().cloned().collect();
        for (text, mut resolved) in resolve(group.regexes.keys(), view, version, now) {
            if let Some(access) = &access {
                resolved.topics.retain(|topic| access.may_describe(topic));
            }
            let before = group.resolved.get(text).map(|before| &before.topics);
            changed |= before.map_or(!resolved.topics.is_empty(), |before| *before != resolved.topics);
            topics.extend(resolved.topics.iter().cloned());
            outcome.append(regex_record(id, text, Some(&resolved)));
        }
        let hash = group_hash(view, topics.iter());
        if changed || hash != group.core.metadata_hash {
            outcome.append(epoch_record(id, group.core.epoch + 1, hash));
            self.metadata.refreshed(id);
        }
    }

    fn view_version(&self) -> i64 {
        i64::try_from(self.metadata.view().version()).unwrap_or(i64::MAX)
    }

    fn check_regex(&self, text: &str, others: usize) -> Result<(), Failure> {
        let config = &self.config.consumer;
        let invalid = |why: String| Err(Failure::new(ErrorCode::InvalidRegularExpression, why));
        if text.len() > config.regex_bytes_max || others >= config.regexes_per_group_max {
            return invalid("The group's regular expressions are too large.".to_owned());
        }
        match compile(text) {
            Ok(_) => Ok(()),
            Err(error) => {
                invalid(format!("SubscribedTopicRegex `{text}` is not a valid regular expression: {error}."))
            }
        }
    }
}

fn resolve<'a>(
    texts: impl Iterator<Item = &'a Str>,
    view: &dyn crate::group::MetadataView,
    version: i64,
    now: TimestampMs,
) -> Vec<(&'a Str, ResolvedRegex)> {
    let new = || ResolvedRegex { topics: BTreeSet::new(), version, timestamp: now };
    // Those that cannot be compiled, by whoever wrote the record, stand for no topics.
    let mut resolved: Vec<_> = texts.map(|text| (text, compile(text).ok(), new())).collect();
    view.for_each_topic(&mut |name| {
        for (_, regex, resolved) in &mut resolved {
            if regex.as_ref().is_some_and(|regex| regex.is_match(name)) {
                resolved.topics.insert(Str::from(name));
            }
        }
    });
    resolved.into_iter().map(|(text, _, resolved)| (text, resolved)).collect()
}

/// The expression, for whole names.
fn compile(text: &str) -> Result<Regex, String> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    let text = unquoted(text);
    // Alone first: unbalanced parentheses must not be balanced by ours.
    build(&text).and_then(|_| build(&format!("^(?:{text})$"))).map_err(|error| {
        let last = error.to_string();
        last.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

/// RE2 has `\Q…\E` for literal text, which our engine lacks.
fn unquoted(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        if let Some(quoted) = from.strip_prefix("\\Q") {
            let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            plain.push_str(&regex::escape(literal));
            rest = after;
        } else {
            let end = from.char_indices().nth(2).map_or(from.len(), |(end, _)| end);
            plain.push_str(&from[..end]);
            rest = &from[end..];
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_stands_for_whole_names() {
        let regex = compile("foo|ba.").expect("a valid expression");
        let matched: Vec<_> =
            ["foo", "bar", "foobar", "xfoo", "ba"].into_iter().filter(|n| regex.is_match(n)).collect();
        assert_eq!(matched, ["foo", "bar"]);
    }

    #[test]
    fn literal_text_is_quoted_as_in_re2() {
        let regex = compile(r"\Qa.b\E\..*").expect("a valid expression");
        assert!(regex.is_match("a.b.c") && !regex.is_match("axb.c"));
        assert!(compile(r"\Qunclosed(").expect("a valid expression").is_match("unclosed("));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["[", "(", "a)(b", "*", r"\k", "(?=x)", "a{1000}{1000}{1000}"] {
            assert!(compile(text).is_err(), "{text}");
        }
    }
}
