//! `authorizer.class.name`: none, or Kafka's standard authoriser.

use std::collections::HashSet;

use strata_metadata::acl::{AclSet, Verdict};

use super::{Operation, Principal, Resource, ResourceType};
use crate::config::AuthorizerSettings;

/// Decides what a principal may do, from the settings and the access control entries.
#[derive(Debug)]
pub(crate) enum Authorizer {
    /// None is configured: everybody may do everything.
    Off,
    Standard {
        super_users: HashSet<String>,
        /// `allow.everyone.if.no.acl.found`.
        allow_without_acls: bool,
    },
}

/// A name that no real resource has: what is allowed of it is allowed of all that no entry names.
const UNNAMED: &str = "hardcode";

impl Authorizer {
    pub(crate) fn new(settings: Option<&AuthorizerSettings>) -> Self {
        match settings {
            None => Self::Off,
            Some(AuthorizerSettings { super_users, allow_without_acls }) => Self::Standard {
                super_users: super_users.iter().cloned().collect(),
                allow_without_acls: *allow_without_acls,
            },
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    pub(super) fn allows(
        &self,
        acls: &AclSet,
        (principal, host): (&Principal, &str),
        operation: Operation,
        resource: Resource<'_>,
    ) -> bool {
        let Self::Standard { super_users, allow_without_acls } = self else { return true };
        if super_users.contains(principal.as_str()) {
            return true;
        }
        let (resource_type, name) = resource.parts();
        match acls.decide(principal.as_str(), host, operation, resource_type, name) {
            Verdict::Allowed => true,
            Verdict::Denied => false,
            Verdict::NoAcls => *allow_without_acls,
        }
    }

    /// Whether there may be a resource of this kind that the principal may do this to.
    pub(super) fn allows_some(
        &self,
        acls: &AclSet,
        (principal, host): (&Principal, &str),
        operation: Operation,
        resource_type: ResourceType,
    ) -> bool {
        let unnamed = Resource::Other(resource_type, UNNAMED);
        self.allows(acls, (principal, host), operation, unnamed)
            || acls.allows_some(principal.as_str(), host, operation, resource_type)
    }
}
