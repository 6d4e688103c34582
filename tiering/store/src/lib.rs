//! The object store, its cache and the tier index.
//!
//! ```text
//!           log ──archiver──► data/… + manifest/… in the bucket
//!                                 │ then
//!  index topic ◄──────────────────┘
//!      │ followed into memory
//!      ▼
//!  TierIndex ──► ColdReader: (offset) → object, row group → ranged GET → batches   (a fetch below the local log)
//!           └──► retention, topic deletion: index first, data last
//! ```
//!
//! [`Tier`] is all of it, as the broker's `RemoteLog`. Names are never used twice, and a range is archived by whoever
//! creates its manifest entry: see `docs/decisions/0030-the-manifest-decides-what-is-archived.md`.

mod archiver;
mod cache;
mod cold;
mod error;
mod index;
mod index_log;
mod location;
mod manifest;
mod names;
mod objects;
mod removal;
mod tier;

pub use archiver::PassReport;
pub use cold::{ColdOptions, ColdRead, ColdReader, TimestampedOffset};
pub use error::StoreError;
pub use index::{IndexEntry, IndexKey, InvalidEntry, PartitionKey, TIER_INDEX_TOPIC, TierIndex};
pub use location::ObjectStoreUrl;
pub use manifest::read_manifest;
pub use objects::{Retry, Store};
pub use tier::{Tier, TierOptions, TierTask};
