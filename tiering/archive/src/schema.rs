//! The columns of an archived topic, and how Parquet lays each of them out.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::ArchiveError;
use crate::writer::WriterOptions;

/// The columns' names.
pub mod column {
    pub const PARTITION: &str = "_partition";
    pub const OFFSET: &str = "_offset";
    pub const TIMESTAMP: &str = "_timestamp";
    /// 0: the producer's clock (create time), 1: the broker's (append time).
    pub const TIMESTAMP_TYPE: &str = "_timestamp_type";
    pub const KEY: &str = "_key";
    pub const VALUE: &str = "_value";
    pub const HEADERS: &str = "_headers";
    pub const LEADER_EPOCH: &str = "_leader_epoch";
    pub const PRODUCER_ID: &str = "_producer_id";
    pub const PRODUCER_EPOCH: &str = "_producer_epoch";
    /// The record's own sequence number; -1 without an idempotent producer.
    pub const SEQUENCE: &str = "_sequence";
    /// The base offset of the batch that the record came in.
    pub const BATCH: &str = "_batch";

    /// In the schema's order.
    pub const ALL: [&str; 12] = [
        PARTITION,
        OFFSET,
        TIMESTAMP,
        TIMESTAMP_TYPE,
        KEY,
        VALUE,
        HEADERS,
        LEADER_EPOCH,
        PRODUCER_ID,
        PRODUCER_EPOCH,
        SEQUENCE,
        BATCH,
    ];
}

/// The Arrow schema of an archived topic's raw columns, in [`column::ALL`]'s order.
///
/// Field ids are the ones that an Iceberg catalog gives this schema when it assigns fresh ids (breadth first from
/// 1), so that the files can join a table as they are.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(build()));
    SCHEMA.clone()
}

/// `struct<key: string, value: binary>`: one header. A header's key is never null, its value may be.
pub(crate) fn header_fields() -> Fields {
    Fields::from(vec![
        with_id(Field::new("key", DataType::Utf8, false), 14),
        with_id(Field::new("value", DataType::Binary, true), 15),
    ])
}

pub(crate) fn header_element() -> Field {
    with_id(Field::new("element", DataType::Struct(header_fields()), false), 13)
}

fn build() -> Schema {
    let types = [
        (DataType::Int32, false),
        (DataType::Int64, false),
        (DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
        (DataType::Int8, false),
        (DataType::Binary, true),
        (DataType::Binary, true),
        (DataType::List(Arc::new(header_element())), false),
        (DataType::Int32, false),
        (DataType::Int64, false),
        (DataType::Int16, false),
        (DataType::Int32, false),
        (DataType::Int64, false),
    ];
    let fields = column::ALL.into_iter().zip(types).zip(1..);
    Schema::new(
        fields
            .map(|((name, (kind, nullable)), id)| with_id(Field::new(name, kind, nullable), id))
            .collect::<Vec<_>>(),
    )
}

fn with_id(field: Field, id: i32) -> Field {
    field.with_metadata(HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]))
}

/// How each column is written: deltas where values climb, dictionaries (run-length encoded) where they repeat, plain
/// bytes where they do neither; a page index on offset and timestamp, for readers that seek.
pub(crate) fn writer_properties(options: &WriterOptions) -> Result<WriterProperties, ArchiveError> {
    let level = ZstdLevel::try_new(options.zstd_level).map_err(ArchiveError::Write)?;
    let path = |name: &str| ColumnPath::from(name);
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("strata ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_data_page_row_count_limit(options.page_rows_max)
        // The library looks at the page limits once per write batch.
        .set_write_batch_size(options.page_rows_max.min(1024))
        // `ArchiveWriter` ends row groups, at batch boundaries.
        .set_max_row_group_row_count(None);
    for name in [column::OFFSET, column::TIMESTAMP, column::SEQUENCE, column::BATCH] {
        builder = builder
            .set_column_dictionary_enabled(path(name), false)
            .set_column_encoding(path(name), Encoding::DELTA_BINARY_PACKED);
    }
    for name in [column::OFFSET, column::TIMESTAMP] {
        builder = builder.set_column_statistics_enabled(path(name), EnabledStatistics::Page);
    }
    builder = builder
        .set_column_dictionary_enabled(path(column::VALUE), false)
        .set_column_statistics_enabled(path(column::VALUE), EnabledStatistics::None);
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_in_the_documented_order() {
        let schema = schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, column::ALL);
    }
}
