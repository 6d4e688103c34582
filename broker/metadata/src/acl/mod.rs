//! Access control: who may do what, in the terms and with the meaning of Kafka's `StandardAuthorizer`.
//!
//! ```text
//!   principal, host ─┐                       ┌ literal name ─┐
//!   operation ───────┼─▶ AclSet::decide ─────┼ literal "*"   ├─▶ any deny? ─▶ denied
//!   resource ────────┘   (bounded lookups)   └ each prefix   ┘   any allow? ─▶ allowed
//! ```
//!
//! [`AclSet`] is part of the image, so every node decides the same. Nothing here knows connections: the server brings
//! principal and host.

mod binding;
mod filter;
mod operation;
mod set;

pub use binding::{Acl, InvalidAcl, PatternType, Permission};
pub use filter::{AclFilter, InvalidFilter};
pub use operation::{Operation, ResourceType};
pub use set::{AclError, AclSet, Verdict};

/// The literal resource name, and the host, that stand for all.
pub const WILDCARD: &str = "*";
/// The principal that stands for all.
pub const WILDCARD_PRINCIPAL: &str = "User:*";
/// The name of the one resource of type [`ResourceType::Cluster`].
pub const CLUSTER_NAME: &str = "kafka-cluster";
