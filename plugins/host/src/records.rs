//! Sections: the uncompressed record part of a v2 batch, as plugins get and give it, from and to batches and records.

use bytes::Bytes;
use strata_protocol::records::{
    Attributes, Batch, BatchBuilder, BatchError, BuildError, BuilderOptions, DecompressLimit, HEADER_BYTES,
    MAGIC, RecordIter, TimestampType, records_of,
};
use strata_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::BatchHeader;

pub use strata_protocol::records::{Header, Record};

/// A batch as plugins get it. Copies nothing, unless the batch is compressed or stamped with its append time.
pub fn of_batch(
    topic: &str,
    partition: i32,
    batch: &Batch,
    limit: DecompressLimit,
) -> Result<(BatchHeader, Bytes), BatchError> {
    if batch.header().timestamp_type() == TimestampType::LogAppendTime {
        // The records' own timestamps, which the section has, are not the ones that count.
        let records = batch.records(limit)?.collect::<Result<Vec<_>, _>>()?;
        let rebuilt = of_records(topic, partition, &records);
        return rebuilt.map_err(|_| BatchError::TooLarge { limit_bytes: limit.0 });
    }
    Ok((header_of(topic, partition, batch), batch.record_section(limit)?))
}

/// Records as plugins get them. Offsets rise; there is at least one record.
pub fn of_records<'a>(
    topic: &str,
    partition: i32,
    records: impl IntoIterator<Item = &'a Record>,
) -> Result<(BatchHeader, Bytes), BuildError> {
    let mut records = records.into_iter().peekable();
    let base_offset = Offset(records.peek().map_or(0, |first| first.offset));
    let mut builder = BatchBuilder::new(BuilderOptions { base_offset, ..BuilderOptions::default() });
    records.try_for_each(|record| builder.push(record))?;
    let batch = Batch::try_from_bytes(builder.build()?).map_err(|_| BuildError::TooLarge)?;
    Ok((header_of(topic, partition, &batch), batch.bytes().slice(HEADER_BYTES..)))
}

/// The records of a section that a plugin gave; keys and values are slices of it.
pub fn records(section: Bytes, base_offset: i64, base_timestamp: i64, count: u32) -> RecordIter {
    let header = strata_protocol::records::BatchHeader {
        base_offset: Offset(base_offset),
        batch_bytes: HEADER_BYTES + section.len(),
        leader_epoch: LeaderEpoch::UNKNOWN,
        magic: MAGIC,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: 0,
        base_timestamp,
        max_timestamp: base_timestamp,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        records_count: i32::try_from(count).unwrap_or(i32::MAX),
    };
    records_of(section, &header)
}

/// How many records a section holds; an error where it is malformed.
pub fn count(section: &Bytes) -> Result<u32, BatchError> {
    // The count that would fit if all records had the least size; the iterator tells where they really end.
    let mut found = 0;
    for record in records(section.clone(), 0, 0, u32::MAX) {
        match record {
            Ok(_) => found += 1,
            Err(BatchError::Count { found: "fewer", .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn header_of(topic: &str, partition: i32, batch: &Batch) -> BatchHeader {
    let header = batch.header();
    BatchHeader {
        topic: topic.to_owned(),
        partition,
        base_offset: header.base_offset.0,
        base_timestamp: header.base_timestamp,
        count: u32::try_from(header.records_count).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_records() -> Vec<Record> {
        let header = |value: Option<&'static str>| Header { key: "h".into(), value: value.map(Bytes::from) };
        let first = Record {
            offset: 10,
            timestamp: 1_001,
            key: Some("k".into()),
            value: Some("v".into()),
            headers: vec![header(None), header(Some("x"))],
        };
        vec![first, Record { offset: 12, timestamp: 999, ..Record::default() }]
    }

    #[test]
    fn what_is_written_is_read() {
        let (header, section) = of_records("t", 3, &two_records()).unwrap();
        assert_eq!(
            (header.topic.as_str(), header.partition, header.base_offset, header.count),
            ("t", 3, 10, 2)
        );
        assert_eq!(count(&section), Ok(2));
        let read: Vec<_> =
            records(section, header.base_offset, header.base_timestamp, header.count).collect();
        assert_eq!(read.into_iter().map(Result::unwrap).collect::<Vec<_>>(), two_records());
    }

    #[test]
    fn a_batch_with_append_time_shows_plugins_that_time() {
        let options =
            BuilderOptions { timestamp_type: TimestampType::LogAppendTime, ..BuilderOptions::default() };
        let mut builder = BatchBuilder::new(options);
        two_records().iter().for_each(|record| builder.push(record).unwrap());
        let batch = Batch::try_from_bytes(builder.build().unwrap()).unwrap();
        let (header, section) = of_batch("t", 0, &batch, DecompressLimit::default()).unwrap();
        let timestamps = records(section, header.base_offset, header.base_timestamp, header.count);
        assert!(timestamps.map(|record| record.unwrap().timestamp).eq([1_001, 1_001]));
    }

    #[test]
    fn a_cut_section_is_an_error_or_has_fewer_records() {
        let (_, section) = of_records("t", 0, &two_records()).unwrap();
        let whole = (1..section.len()).filter(|cut| count(&section.slice(..*cut)).is_ok());
        assert_eq!(whole.count(), 1, "only the cut between the two records leaves whole ones");
    }
}
