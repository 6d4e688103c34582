//! SQL over a topic's hot and cold records as one table.
//!
//! ```text
//!   SELECT … FROM "orders" ──► QueryEngine ──► snapshot: per partition [start … archived)[archived … last stable)
//!                                                                       │ Parquet objects   │ fetches
//!                                              tier index ──────────────┘                   └── the broker's log
//! ```
//!
//! A table is a topic at one moment: the tier index is read first, then each partition's last stable offset; what the
//! index names is read as Parquet from the object store, the rest is fetched from the broker. So every committed record
//! is there once, whatever the archiver does meanwhile, and nothing that is aborted or open is.
//!
//! Columns are the archive's (`_partition`, `_offset`, `_timestamp`, `_key`, `_value`, `_headers`, …) and `key` and
//! `value`: the same bytes as text, null where they are not UTF-8. `json_get(value, 'a.b')` looks into a JSON text.

mod broker;
mod catalog;
mod engine;
mod error;
mod format;
mod hot;
mod json;
mod prune;
mod snapshot;
mod source;
mod table;
mod text;

pub use engine::{QueryEngine, QueryOptions, QueryResult};
pub use error::QueryError;
pub use format::{Format, FormatError};
pub use source::{Cluster, Fetched, TopicState};
