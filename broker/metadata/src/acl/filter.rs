//! Filters of entries, as DescribeAcls and DeleteAcls send them.

use strata_protocol::Str;

use super::{Acl, Operation, PatternType, Permission, ResourceType, WILDCARD};

const ANY: i8 = 1;
const MATCH: i8 = 2;

/// Which entries are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclFilter {
    /// `None`: of any kind. The same for all that follow.
    resource_type: Option<ResourceType>,
    resource_name: Option<Str>,
    pattern: PatternFilter,
    principal: Option<Str>,
    host: Option<Str>,
    operation: Option<Operation>,
    permission: Option<Permission>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatternFilter {
    Any,
    /// Every pattern that the name falls under.
    Match,
    Is(PatternType),
}

/// A filter that names what is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    #[error("Unknown patternFilter.")]
    Pattern,
    #[error("Unknown entryFilter.")]
    Entry,
}

impl AclFilter {
    /// A filter from the numbers of a request.
    pub fn from_codes(
        (resource_type, resource_name, pattern): (i8, &Option<Str>, i8),
        (principal, host): (&Option<Str>, &Option<Str>),
        (operation, permission): (i8, i8),
    ) -> Result<Self, InvalidFilter> {
        Ok(Self {
            resource_type: any_or(resource_type, ResourceType::from_code).ok_or(InvalidFilter::Pattern)?,
            resource_name: resource_name.clone(),
            pattern: match pattern {
                ANY => PatternFilter::Any,
                MATCH => PatternFilter::Match,
                other => PatternFilter::Is(PatternType::from_code(other).ok_or(InvalidFilter::Pattern)?),
            },
            principal: principal.clone(),
            host: host.clone(),
            operation: any_or(operation, Operation::from_code).ok_or(InvalidFilter::Entry)?,
            permission: any_or(permission, Permission::from_code).ok_or(InvalidFilter::Entry)?,
        })
    }

    pub fn matches(&self, acl: &Acl) -> bool {
        fn is<T: PartialEq>(filter: &Option<T>, value: &T) -> bool {
            filter.as_ref().is_none_or(|filter| filter == value)
        }
        is(&self.resource_type, &acl.resource_type)
            && self.matches_pattern(acl)
            && is(&self.principal, &acl.principal)
            && is(&self.host, &acl.host)
            && is(&self.operation, &acl.operation)
            && is(&self.permission, &acl.permission)
    }

    fn matches_pattern(&self, acl: &Acl) -> bool {
        if let PatternFilter::Is(pattern) = self.pattern
            && pattern != acl.pattern
        {
            return false;
        }
        let Some(name) = &self.resource_name else { return true };
        if self.pattern != PatternFilter::Match {
            return *name == acl.resource_name;
        }
        match acl.pattern {
            PatternType::Literal => *name == acl.resource_name || acl.resource_name == WILDCARD,
            PatternType::Prefixed => name.starts_with(acl.resource_name.as_str()),
        }
    }
}

/// `Some(None)` for any, `None` for what is not known.
fn any_or<T>(code: i8, from_code: impl Fn(i8) -> Option<T>) -> Option<Option<T>> {
    if code == ANY { Some(None) } else { from_code(code).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_finds_every_pattern_that_the_name_falls_under() {
        let acl = |name: &str, pattern| Acl {
            resource_type: ResourceType::Topic,
            resource_name: name.into(),
            pattern,
            principal: "User:x".into(),
            host: "*".into(),
            operation: Operation::Read,
            permission: Permission::Allow,
        };
        let (literal, prefixed) = (PatternType::Literal, PatternType::Prefixed);
        let all = [("abc", literal), ("ab", literal), ("*", literal), ("ab", prefixed), ("b", prefixed)];
        let found = |name: Option<&str>, pattern: i8| {
            let filter =
                AclFilter::from_codes((2, &name.map(Str::from), pattern), (&None, &None), (1, 1)).unwrap();
            let matching = all.iter().map(|(name, pattern)| filter.matches(&acl(name, *pattern)));
            matching.map(u8::from).collect::<Vec<_>>()
        };
        assert_eq!(found(Some("abc"), MATCH), [1, 0, 1, 1, 0]);
        assert_eq!(found(Some("ab"), ANY), [0, 1, 0, 1, 0]);
        assert_eq!(found(Some("ab"), 3), [0, 1, 0, 0, 0]);
        assert_eq!(found(None, 4), [0, 0, 0, 1, 1]);
        assert_eq!(found(None, ANY), [1; 5]);
    }

    #[test]
    fn what_is_not_known_matches_nothing_but_is_refused() {
        let from = |resource, pattern, operation| {
            AclFilter::from_codes((resource, &None, pattern), (&None, &None), (operation, 1))
        };
        assert_eq!(from(0, 1, 1), Err(InvalidFilter::Pattern));
        assert_eq!(from(1, 0, 1), Err(InvalidFilter::Pattern));
        assert_eq!(from(1, 1, 99), Err(InvalidFilter::Entry));
    }
}
