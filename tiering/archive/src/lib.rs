//! Records to Parquet and back, lossless: sans-IO.
//!
//! ```text
//!  v2 batches ──► ArchiveWriter ──► ArchiveFile { bytes, ranges }          (the store uploads it)
//!                                       │
//!   ┌───────────────┬───────────────┬───┴───┬──────────────────────────┐
//!   │ row group 0   │ row group 1   │  …    │ footer: schema, ranges   │   one file, one topic;
//!   │ partition 0   │ partition 0   │       │ and where each group is  │   a group never spans partitions
//!   └───────┬───────┴───────────────┴───────┴────────────┬─────────────┘
//!           │ ranged GET                                 │ ranged GET, cached
//!           └─────────────► rebuild ◄────────── Footer ──┘ ──► v2 batches again
//! ```
//!
//! What a consumer reads from the rebuilt batches equals what it would have read from the log: offsets (gaps too),
//! timestamps and their type, keys, values, null-ness, headers with their order and duplicates, leader epoch,
//! producer id, epoch and sequence, and the batches' boundaries. Only committed records are archived: control
//! batches and those of aborted transactions leave no rows. What is not kept, because no consumer sees it: the
//! codec (see [`RebuildOptions`]) and the transactional bit (see [`rebuild`]).
//!
//! The layout's reasons are in `docs/decisions/0031-parquet-layout.md`.

mod columns;
mod error;
mod footer;
mod layout;
mod rebuild;
mod schema;
mod transactions;
mod writer;

pub use error::ArchiveError;
pub use footer::{FOOTER_TAIL_BYTES, Footer};
pub use layout::{EpochStart, FORMAT_VERSION, PartitionRange, RowGroup, row_groups_from};
pub use rebuild::{RebuildOptions, RebuiltBatch, gap_batch, rebuild};
pub use schema::{column, schema};
pub use transactions::AbortedTransactions;
pub use writer::{ArchiveFile, ArchiveWriter, ROW_GROUP_BYTES_CEILING, WriterOptions};

pub use columns::ColumnsBuilder;
