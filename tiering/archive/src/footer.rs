use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FooterTail, KeyValue, ParquetMetaDataReader};
use strata_types::{TopicId, TopicName};

use crate::error::ArchiveError;
use crate::layout::{FORMAT_VERSION, PartitionRange};

/// A Parquet file's last bytes: how long its metadata is, and the magic number.
pub const FOOTER_TAIL_BYTES: u64 = 8;

const KEY_FORMAT: &str = "strata.format";
const KEY_TOPIC: &str = "strata.topic";
const KEY_TOPIC_ID: &str = "strata.topic-id";
const KEY_RANGES: &str = "strata.ranges";

/// A file's footer, parsed: what [`crate::rebuild`] needs to understand a row group's bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Footer {
    pub(crate) parquet: ArrowReaderMetadata,
    topic: TopicName,
    topic_id: TopicId,
    ranges: Arc<[PartitionRange]>,
}

impl Footer {
    /// From a file's last bytes, `footer_bytes` of them (see [`Footer::bytes_from_tail`] where that is not known), and
    /// the whole file's length.
    pub fn parse(footer: &Bytes, file_bytes: u64) -> Result<Self, ArchiveError> {
        let metadata_bytes = (footer.len() as u64)
            .checked_sub(FOOTER_TAIL_BYTES)
            .filter(|_| footer.len() as u64 <= file_bytes)
            .ok_or_else(|| ArchiveError::corrupt("the footer is cut short"))?;
        if footer_bytes(footer)? != footer.len() as u64 {
            return Err(ArchiveError::corrupt("the footer's length is not the one that it states"));
        }
        let metadata = ParquetMetaDataReader::decode_metadata(&footer[..metadata_bytes as usize])
            .map_err(|e| ArchiveError::corrupt(format!("the footer cannot be read: {e}")))?;
        let pairs = metadata.file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let value = |key: &str| {
            let pair = pairs.iter().find(|pair| pair.key == key);
            pair.and_then(|pair| pair.value.as_deref())
                .ok_or_else(|| ArchiveError::corrupt(format!("the footer has no {key}")))
        };
        let format: u32 =
            value(KEY_FORMAT)?.parse().map_err(|_| ArchiveError::corrupt("the format is no number"))?;
        if format > FORMAT_VERSION {
            return Err(ArchiveError::UnknownFormat { found: format });
        }
        let topic = TopicName::new(value(KEY_TOPIC)?)
            .map_err(|e| ArchiveError::corrupt(format!("the footer's topic name: {e}")))?;
        let topic_id = value(KEY_TOPIC_ID)?
            .parse()
            .map_err(|e| ArchiveError::corrupt(format!("the footer's topic id: {e}")))?;
        let ranges: Vec<PartitionRange> = serde_json::from_str(value(KEY_RANGES)?)
            .map_err(|e| ArchiveError::corrupt(format!("the footer's ranges: {e}")))?;
        let parquet = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
            .map_err(|e| ArchiveError::corrupt(format!("the footer's schema: {e}")))?;
        Ok(Self { parquet, topic, topic_id, ranges: ranges.into() })
    }

    /// The footer's length, from the file's last [`FOOTER_TAIL_BYTES`].
    pub fn bytes_from_tail(tail: &[u8]) -> Result<u64, ArchiveError> {
        footer_bytes(tail)
    }

    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// What the file holds, partition by partition.
    pub fn ranges(&self) -> &[PartitionRange] {
        &self.ranges
    }

    /// About how much memory this takes, for a cache that counts.
    pub fn memory_bytes(&self) -> usize {
        self.parquet.metadata().memory_size()
    }
}

/// What our footers say beyond Parquet's own metadata.
pub(crate) fn key_values(
    topic: &TopicName,
    topic_id: TopicId,
    ranges: &[PartitionRange],
) -> Result<Vec<KeyValue>, ArchiveError> {
    let ranges = serde_json::to_string(ranges)
        .map_err(|e| ArchiveError::Write(ParquetError::External(Box::new(e))))?;
    Ok(vec![
        KeyValue::new(KEY_FORMAT.to_owned(), FORMAT_VERSION.to_string()),
        KeyValue::new(KEY_TOPIC.to_owned(), topic.to_string()),
        KeyValue::new(KEY_TOPIC_ID.to_owned(), topic_id.to_string()),
        KeyValue::new(KEY_RANGES.to_owned(), ranges),
    ])
}

/// The length of the footer, tail included, that `file`'s end states.
pub(crate) fn footer_bytes(file: &[u8]) -> Result<u64, ArchiveError> {
    let tail: &[u8; FOOTER_TAIL_BYTES as usize] =
        file.last_chunk().ok_or_else(|| ArchiveError::corrupt("the file is shorter than a footer"))?;
    let metadata = FooterTail::try_from(*tail)
        .map_err(|e| ArchiveError::corrupt(format!("the file does not end as Parquet does: {e}")))?;
    Ok(metadata.metadata_length() as u64 + FOOTER_TAIL_BYTES)
}
