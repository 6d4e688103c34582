//! All entries, indexed so that a decision costs a few lookups, however many entries there are.
//!
//! A decision looks at the resource's literal name, at the literal `*`, and at each prefix of the name that is a pattern:
//! at most as many as the name is long, found by walking backwards from the name. In each it looks up two principals and
//! two hosts. No list of entries is ever walked.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use strata_protocol::Str;
use uuid::Uuid;

use super::{Acl, Operation, PatternType, Permission, ResourceType, WILDCARD, WILDCARD_PRINCIPAL};

/// What the entries say of one action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Denied,
    /// No entry names the resource at all: `allow.everyone.if.no.acl.found` decides.
    NoAcls,
}

/// Why entries cannot be changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    #[error("there is an access control entry with id {0} already")]
    IdTaken(Uuid),
    #[error("the same access control entry exists with id {0}")]
    Exists(Uuid),
    #[error("there is no access control entry with id {0}")]
    Unknown(Uuid),
}

/// A set of entries. Clones share what they have in common.
#[derive(Debug, Clone, Default)]
pub struct AclSet {
    by_id: OrdMap<Uuid, Arc<Acl>>,
    by_acl: OrdMap<Arc<Acl>, Uuid>,
    by_type: OrdMap<ResourceType, OfType>,
}

/// Two sets are equal if they hold the same entries.
impl PartialEq for AclSet {
    fn eq(&self, other: &Self) -> bool {
        self.by_id == other.by_id
    }
}

#[derive(Debug, Clone, Default)]
struct OfType {
    literal: OrdMap<Str, Principals>,
    prefixed: OrdMap<Str, Principals>,
    /// The patterns of which a principal has an entry.
    patterns_of: OrdMap<Str, OrdSet<(PatternType, Str)>>,
}

/// The entries of one pattern, by principal and host.
type Principals = OrdMap<Str, OrdMap<Str, Masks>>;

/// Operations that are allowed and denied, a bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Masks {
    allow: u16,
    deny: u16,
}

impl Masks {
    fn of(&mut self, permission: Permission) -> &mut u16 {
        match permission {
            Permission::Allow => &mut self.allow,
            Permission::Deny => &mut self.deny,
        }
    }

    fn and(self, other: Self) -> Self {
        Self { allow: self.allow | other.allow, deny: self.deny | other.deny }
    }
}

impl AclSet {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Every entry, ordered by resource.
    pub fn iter(&self) -> impl Iterator<Item = (&Acl, Uuid)> {
        self.by_acl.iter().map(|(acl, id)| (acl.as_ref(), *id))
    }

    /// Every entry of one kind of resource.
    pub fn of_type(&self, resource_type: ResourceType) -> impl Iterator<Item = (&Acl, Uuid)> {
        self.iter().filter(move |(acl, _)| acl.resource_type == resource_type)
    }

    pub fn contains(&self, acl: &Acl) -> bool {
        self.by_acl.contains_key(acl)
    }

    pub fn contains_id(&self, id: Uuid) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(crate) fn insert(&mut self, id: Uuid, acl: Acl) -> Result<(), AclError> {
        if self.by_id.contains_key(&id) {
            return Err(AclError::IdTaken(id));
        }
        if let Some(other) = self.by_acl.get(&acl) {
            return Err(AclError::Exists(*other));
        }
        let of_type = self.by_type.entry(acl.resource_type).or_default();
        let patterns = of_type.patterns(acl.pattern);
        let hosts = patterns.entry(acl.resource_name.clone()).or_default();
        let masks = hosts.entry(acl.principal.clone()).or_default().entry(acl.host.clone()).or_default();
        *masks.of(acl.permission) |= acl.operation.bit();
        let patterns = of_type.patterns_of.entry(acl.principal.clone()).or_default();
        patterns.insert((acl.pattern, acl.resource_name.clone()));
        let acl = Arc::new(acl);
        self.by_acl.insert(acl.clone(), id);
        self.by_id.insert(id, acl);
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: Uuid) -> Result<(), AclError> {
        let acl = self.by_id.remove(&id).ok_or(AclError::Unknown(id))?;
        self.by_acl.remove(&acl);
        if let Some(of_type) = self.by_type.get_mut(&acl.resource_type) {
            of_type.remove(&acl);
        }
        Ok(())
    }

    /// What the entries say of `operation` on the resource with this very name.
    pub fn decide(
        &self,
        principal: &str,
        host: &str,
        operation: Operation,
        resource_type: ResourceType,
        name: &str,
    ) -> Verdict {
        let Some(of_type) = self.by_type.get(&resource_type) else { return Verdict::NoAcls };
        let mut found = None;
        for pattern in of_type.matching(name) {
            let masks = masks(pattern, principal, host);
            if masks.deny & operation.denied_by() != 0 {
                return Verdict::Denied;
            }
            found = Some(found.unwrap_or(false) || masks.allow & operation.allowed_by() != 0);
        }
        match found {
            None => Verdict::NoAcls,
            Some(true) => Verdict::Allowed,
            Some(false) => Verdict::Denied,
        }
    }

    /// Whether the principal may do this to at least one name that there could be: an entry allows it, and no wider one
    /// denies it. Costs what entries name this principal.
    pub fn allows_some(
        &self,
        principal: &str,
        host: &str,
        operation: Operation,
        resource_type: ResourceType,
    ) -> bool {
        let Some(of_type) = self.by_type.get(&resource_type) else { return false };
        // Here nothing is implied: the entry must name the operation itself, or all.
        let (allow, deny) = (operation.denied_by(), operation.denied_by());
        let everything = of_type.literal.get(WILDCARD).map(|entries| masks(entries, principal, host));
        match everything {
            Some(everything) if everything.deny & deny != 0 => return false,
            Some(everything) if everything.allow & allow != 0 => return true,
            _ => {}
        }
        let denied = |name: &str, literal: bool| {
            let exact = literal.then(|| of_type.literal.get(name)).flatten();
            exact
                .into_iter()
                .chain(of_type.prefixes_of(name))
                .any(|entries| masks(entries, principal, host).deny & deny != 0)
        };
        let names = [principal, WILDCARD_PRINCIPAL];
        let patterns = names.iter().filter_map(|name| of_type.patterns_of.get(*name)).flatten();
        patterns.filter(|(_, name)| *name != WILDCARD).any(|(pattern, name)| {
            let entries = match pattern {
                PatternType::Literal => of_type.literal.get(name),
                PatternType::Prefixed => of_type.prefixed.get(name),
            };
            let allowed = entries.is_some_and(|e| masks(e, principal, host).allow & allow != 0);
            allowed && !denied(name, *pattern == PatternType::Literal)
        })
    }
}

/// What a pattern's entries say of this principal from this host.
fn masks(entries: &Principals, principal: &str, host: &str) -> Masks {
    let hosts = [entries.get(principal), entries.get(WILDCARD_PRINCIPAL)].into_iter().flatten();
    let found = hosts.flat_map(|hosts| [hosts.get(host), hosts.get(WILDCARD)]).flatten();
    found.fold(Masks::default(), |all, masks| all.and(*masks))
}

impl OfType {
    fn patterns(&mut self, pattern: PatternType) -> &mut OrdMap<Str, Principals> {
        match pattern {
            PatternType::Literal => &mut self.literal,
            PatternType::Prefixed => &mut self.prefixed,
        }
    }

    /// The patterns that a name falls under.
    fn matching<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Principals> {
        let exact = self.literal.get(name);
        let all = (name != WILDCARD).then(|| self.literal.get(WILDCARD)).flatten();
        exact.into_iter().chain(all).chain(self.prefixes_of(name))
    }

    /// The prefixed patterns that a name falls under, longest first. Each step finds one, or cuts the name down to what
    /// it shares with its neighbour.
    fn prefixes_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Principals> {
        let mut rest = name;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let (pattern, entries) = self.prefixed.get_prev(rest)?;
                let shared = shared_len(rest, pattern);
                if shared == pattern.len() {
                    rest = &rest[..rest.floor_char_boundary(shared.saturating_sub(1))];
                    return Some(entries);
                }
                rest = &rest[..rest.floor_char_boundary(shared)];
            }
            None
        })
    }

    fn remove(&mut self, acl: &Acl) {
        let patterns = self.patterns(acl.pattern);
        let mut pattern_has_principal = false;
        if let Some(principals) = patterns.get_mut(&acl.resource_name) {
            if let Some(hosts) = principals.get_mut(&acl.principal) {
                if let Some(masks) = hosts.get_mut(&acl.host) {
                    *masks.of(acl.permission) &= !acl.operation.bit();
                    if *masks == Masks::default() {
                        hosts.remove(&acl.host);
                    }
                }
                if hosts.is_empty() {
                    principals.remove(&acl.principal);
                } else {
                    pattern_has_principal = true;
                }
            }
            if principals.is_empty() {
                patterns.remove(&acl.resource_name);
            }
        }
        if !pattern_has_principal && let Some(patterns) = self.patterns_of.get_mut(&acl.principal) {
            patterns.remove(&(acl.pattern, acl.resource_name.clone()));
            if patterns.is_empty() {
                self.patterns_of.remove(&acl.principal);
            }
        }
    }
}

fn shared_len(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn acl(name: &str, pattern: PatternType, who: (&str, &str), what: (Operation, Permission)) -> Acl {
        Acl {
            resource_type: ResourceType::Topic,
            resource_name: name.into(),
            pattern,
            principal: who.0.into(),
            host: who.1.into(),
            operation: what.0,
            permission: what.1,
        }
    }

    /// The meaning, spelled out: every entry is looked at.
    fn by_walking(acls: &AclSet, principal: &str, host: &str, operation: Operation, name: &str) -> Verdict {
        let mut verdict = Verdict::NoAcls;
        for (acl, _) in acls.of_type(ResourceType::Topic) {
            let named = match acl.pattern {
                PatternType::Literal => *acl.resource_name == *name || *acl.resource_name == *WILDCARD,
                PatternType::Prefixed => name.starts_with(acl.resource_name.as_str()),
            };
            if !named {
                continue;
            }
            if verdict == Verdict::NoAcls {
                verdict = Verdict::Denied;
            }
            let who = [principal, WILDCARD_PRINCIPAL].contains(&acl.principal.as_str())
                && [host, WILDCARD].contains(&acl.host.as_str());
            let implied = match operation {
                Operation::Describe => {
                    use Operation::*;
                    [Read, Write, Delete, Alter].contains(&acl.operation)
                }
                Operation::DescribeConfigs => acl.operation == Operation::AlterConfigs,
                _ => false,
            };
            let same = [operation, Operation::All].contains(&acl.operation);
            match acl.permission {
                Permission::Deny if who && same => return Verdict::Denied,
                Permission::Allow if who && (same || implied) => verdict = Verdict::Allowed,
                _ => {}
            }
        }
        verdict
    }

    fn any_acl() -> impl Strategy<Value = Acl> {
        let name = prop_oneof![Just("*".to_owned()), "[ab]{1,3}", "a[éè]{1,2}"];
        let pattern = prop_oneof![Just(PatternType::Literal), Just(PatternType::Prefixed)];
        let principal = prop_oneof![Just("User:*"), Just("User:x"), Just("User:y")];
        let host = prop_oneof![Just("*"), Just("1.1.1.1"), Just("2.2.2.2")];
        let operation = proptest::sample::select(Operation::ALL);
        let permission = prop_oneof![Just(Permission::Allow), Just(Permission::Deny)];
        (name, pattern, principal, host, operation, permission).prop_map(
            |(name, pattern, principal, host, operation, permission)| {
                acl(&name, pattern, (principal, host), (operation, permission))
            },
        )
    }

    proptest! {
        #[test]
        fn the_index_decides_as_a_walk_over_all_entries_does(
            acls in proptest::collection::vec(any_acl(), 0..12),
            gone in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
            name in prop_oneof!["[ab]{1,4}", "a[éè]{1,3}"],
            operation in proptest::sample::select(Operation::ALL),
        ) {
            let mut set = AclSet::default();
            let mut ids = Vec::new();
            for (id, acl) in acls.into_iter().enumerate() {
                let id = Uuid::from_u128(id as u128);
                if set.insert(id, acl).is_ok() {
                    ids.push(id);
                }
            }
            for index in gone {
                if !ids.is_empty() {
                    let id = ids.swap_remove(index.index(ids.len()));
                    prop_assert!(set.remove(id).is_ok());
                }
            }
            for (principal, host) in [("User:x", "1.1.1.1"), ("User:z", "3.3.3.3")] {
                prop_assert_eq!(
                    set.decide(principal, host, operation, ResourceType::Topic, &name),
                    by_walking(&set, principal, host, operation, &name)
                );
            }
            let left: Vec<Uuid> = set.iter().map(|(_, id)| id).collect();
            for id in left {
                prop_assert!(set.remove(id).is_ok());
            }
            let empty = |of_type: &OfType| {
                of_type.literal.is_empty() && of_type.prefixed.is_empty() && of_type.patterns_of.is_empty()
            };
            prop_assert!(set.by_type.values().all(empty), "nothing stays behind");
        }
    }

    #[test]
    fn deny_goes_before_allow_wherever_it_stands() {
        let mut set = AclSet::default();
        let (read, x) = (Operation::Read, ("User:x", "*"));
        set.insert(Uuid::from_u128(1), acl("a", PatternType::Literal, x, (read, Permission::Allow))).unwrap();
        let decide = |set: &AclSet| set.decide("User:x", "h", read, ResourceType::Topic, "a");
        assert_eq!(decide(&set), Verdict::Allowed);
        let everybody = ("User:*", "h");
        set.insert(Uuid::from_u128(2), acl("*", PatternType::Literal, everybody, (read, Permission::Deny)))
            .unwrap();
        assert_eq!(decide(&set), Verdict::Denied);
    }

    #[test]
    fn some_resource_may_be_written_only_if_no_wider_entry_denies_it() {
        let (write, x) = (Operation::Write, ("User:x", "*"));
        let (allow, deny) = (Permission::Allow, Permission::Deny);
        for (acls, allowed) in [
            (vec![], false),
            (vec![("a", PatternType::Literal, allow)], true),
            (vec![("a", PatternType::Literal, allow), ("a", PatternType::Literal, deny)], false),
            (vec![("ab", PatternType::Prefixed, allow), ("a", PatternType::Prefixed, deny)], false),
            (vec![("ab", PatternType::Prefixed, allow), ("ab", PatternType::Literal, deny)], true),
            (vec![("*", PatternType::Literal, allow), ("a", PatternType::Prefixed, deny)], true),
            (vec![("a", PatternType::Literal, allow), ("*", PatternType::Literal, deny)], false),
        ] {
            let mut set = AclSet::default();
            for (id, (name, pattern, permission)) in acls.iter().enumerate() {
                let entry = acl(name, *pattern, x, (write, *permission));
                set.insert(Uuid::from_u128(id as u128), entry).unwrap();
            }
            let found = set.allows_some("User:x", "h", write, ResourceType::Topic);
            assert_eq!(found, allowed, "{acls:?}");
            assert!(!set.allows_some("User:y", "h", write, ResourceType::Topic));
        }
    }
}
