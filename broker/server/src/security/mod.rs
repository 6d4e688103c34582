//! Who is at the other end of a connection, and what they may do.
//!
//! ```text
//! connection ─▶ Principal (fixed once authenticated) ─┐
//! request ─▶ Context::allows(operation, resource) ────┼─▶ Authorizer ─▶ AclSet of the newest image
//! ```

mod access;
mod authorizer;
mod principal;

#[allow(unused_imports, reason = "the API files that ask are being written")]
pub(crate) use access::{Access, Resource};
pub(crate) use authorizer::Authorizer;
pub(crate) use principal::Principal;
#[allow(unused_imports, reason = "the API files that ask are being written")]
pub(crate) use strata_metadata::acl::{Operation, ResourceType};
