//! Record batches (format v2, KIP-98): the unit that producers send, logs keep and consumers fetch.
//!
//! ```text
//!  0            8        12             16      17    21           23                  27
//!  ├ base offset┼ length ┼ leader epoch ┼ magic ┼ CRC ┼ attributes ┼ last offset delta ┼ …
//!  27               35              43            51               53              57              61
//!  ├ base timestamp ┼ max timestamp ┼ producer id ┼ producer epoch ┼ base sequence ┼ records count ┼ records …
//! ```
//!
//! The CRC covers everything from the attributes on, so that a broker gives a batch its offsets and leader epoch
//! ([`patched_header`]) without touching the rest. The records behind the header are one compressed section.
//!
//! A [`Batch`] is a header-checked view of shared bytes; nothing is copied on the way in. [`Batch::records`] walks
//! the records lazily, as slices of the batch or of its one decompressed buffer. What comes from a client goes
//! through [`validate()`] first, which walks compressed content as a stream and so needs no memory for it.

mod batch;
mod builder;
mod compression;
mod control;
mod error;
mod header;
mod patch;
mod record;
mod retain;
mod snappy;
#[cfg(test)]
mod tests;
mod validate;
mod varint;
mod walk;

pub use batch::{Batch, Batches, RecompressError, batches, whole_batches_len};
pub use builder::{BatchBuilder, BuilderOptions};
pub use compression::{Compression, DECOMPRESSED_BYTES_MAX, DecompressLimit, DecompressReader};
pub use control::{ControlType, EndTxnMarker, end_transaction_marker};
pub use error::{BatchError, BuildError};
pub use header::{Attributes, BatchHeader, HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, TimestampType};
pub use patch::{Patch, patch, patched_header, set_producer};
pub use record::{Header, Record, RecordIter, records_of};
pub use retain::{RawRecord, RawRecords, Retained, raw_records};
pub use validate::{
    InvalidBatch, Origin, RECORD_ERRORS_MAX, RecordError, ValidateOptions, Validated, single_batch, validate,
};
