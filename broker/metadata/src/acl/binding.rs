//! One entry: a pattern of resources, a principal, a host, an operation, and whether it is allowed or denied.

use strata_protocol::Str;
use strata_protocol::messages::AccessControlEntryRecord;
use uuid::Uuid;

use super::{Operation, ResourceType};

/// How an entry's resource name is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PatternType {
    Literal,
    Prefixed,
}

impl PatternType {
    pub const fn code(self) -> i8 {
        match self {
            Self::Literal => 3,
            Self::Prefixed => 4,
        }
    }

    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            3 => Some(Self::Literal),
            4 => Some(Self::Prefixed),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    Deny,
    Allow,
}

impl Permission {
    pub const fn code(self) -> i8 {
        match self {
            Self::Deny => 2,
            Self::Allow => 3,
        }
    }

    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Deny),
            3 => Some(Self::Allow),
            _ => None,
        }
    }
}

/// An access control entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    pub resource_type: ResourceType,
    /// Not empty.
    pub resource_name: Str,
    pub pattern: PatternType,
    /// `Type:name`; `User:*` is everybody.
    pub principal: Str,
    /// An address without a name; `*` is every one.
    pub host: Str,
    pub operation: Operation,
    pub permission: Permission,
}

/// Why something is no entry; the text is what Kafka tells the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAcl {
    #[error("Invalid resourceType {}", any_or_unknown(*.0))]
    ResourceType(i8),
    #[error("Invalid patternType {}", match .0 { 1 => "ANY", 2 => "MATCH", _ => "UNKNOWN" })]
    PatternType(i8),
    #[error("Invalid operation {}", any_or_unknown(*.0))]
    Operation(i8),
    #[error("Invalid permissionType {}", any_or_unknown(*.0))]
    Permission(i8),
    #[error("Resource name should not be empty")]
    EmptyName,
}

fn any_or_unknown(code: i8) -> &'static str {
    if code == 1 { "ANY" } else { "UNKNOWN" }
}

impl Acl {
    /// An entry from the numbers of a request or a record, checked in Kafka's order.
    pub fn from_codes(
        (resource_type, resource_name, pattern): (i8, &Str, i8),
        (principal, host): (&Str, &Str),
        (operation, permission): (i8, i8),
    ) -> Result<Self, InvalidAcl> {
        let acl = Self {
            resource_type: ResourceType::from_code(resource_type)
                .ok_or(InvalidAcl::ResourceType(resource_type))?,
            resource_name: resource_name.detached(),
            pattern: PatternType::from_code(pattern).ok_or(InvalidAcl::PatternType(pattern))?,
            principal: principal.detached(),
            host: host.detached(),
            operation: Operation::from_code(operation).ok_or(InvalidAcl::Operation(operation))?,
            permission: Permission::from_code(permission).ok_or(InvalidAcl::Permission(permission))?,
        };
        if acl.resource_name.is_empty() { Err(InvalidAcl::EmptyName) } else { Ok(acl) }
    }

    pub(crate) fn from_record(record: &AccessControlEntryRecord) -> Result<Self, InvalidAcl> {
        Self::from_codes(
            (record.resource_type, &record.resource_name, record.pattern_type),
            (&record.principal, &record.host),
            (record.operation, record.permission_type),
        )
    }

    pub(crate) fn to_record(&self, id: Uuid) -> AccessControlEntryRecord {
        AccessControlEntryRecord {
            id,
            resource_type: self.resource_type.code(),
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern.code(),
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation.code(),
            permission_type: self.permission.code(),
            ..Default::default()
        }
    }
}
