//! The cluster's metadata: typed records, the immutable image they add up to, and the controller that turns requests
//! into records. Sans-IO.
//!
//! ```text
//!   request ──▶ controller ──▶ records ──▶ (the quorum's log) ──▶ Image::apply ──▶ image ──▶ Changes ──▶ broker
//!                  ▲                                                                │
//!                  └────────────────────────── reads ───────────────────────────────┘
//! ```
//!
//! - [`MetadataRecord`] is one entry of the log, in Kafka's own framing, so that `kafka-dump-log
//!   --cluster-metadata-decoder` reads it.
//! - [`Image`] is the state after some prefix of the log. It is a pure fold: the same records give the same image on
//!   every node. A record that does not fit is a typed [`ApplyError`], never a panic.
//! - [`controller`] decides. Each function reads an image and a request and returns the records to commit with the
//!   response to send once they are; it changes nothing itself.
//! - [`acl`] decides who may do what.
//! - [`Changes`] says what differs between two images, which is what a broker acts on.

pub mod acl;
mod changes;
pub mod controller;
mod image;
mod record;

pub use changes::{Changes, TopicChange};
pub use image::{
    ApplyError, Broker, BrokerFeature, ConfigMap, ConfigResource, DelegationToken, Endpoint, Image,
    NoQuotaEntity, Partition, QuotaEntity, QuotaMap, QuotaName, ScramCredential, ScramMechanism, Topic,
    UnknownResource,
};
pub use record::{MetadataRecord, RecordError};
