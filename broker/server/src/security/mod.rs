//! Who is at the other end of a connection, and what they may do.
//!
//! ```text
//! TLS certificate ─┐
//! SASL exchange   ─┴▶ Session: a Principal, fixed once ─┐
//! request ─▶ Context::allows(operation, resource) ──────┼─▶ Authorizer ─▶ AclSet of the newest image
//! ```

mod access;
mod authorizer;
mod bearer;
mod crypto;
mod first_users;
mod principal;
mod sasl;
mod session;
mod tls;
mod tokens;

pub(crate) use access::{Access, Resource};
pub(crate) use authorizer::Authorizer;
pub(crate) use bearer::Bearer;
pub(crate) use crypto::scram_keys;
pub(crate) use first_users::first_users;
pub(crate) use principal::Principal;
pub(crate) use session::Session;
pub(crate) use strata_metadata::acl::{Operation, ResourceType};
pub use tls::TlsError;
pub(crate) use tls::{DYNAMIC as TLS_DYNAMIC, TlsListener, check as check_tls};
pub(crate) use tokens::Tokens;
