//! The metadata log: its records' frame, and the image that they make.

use bytes::Bytes;
use strata_metadata::{Image, MetadataRecord};

use crate::Target;

pub(crate) fn targets() -> Vec<Target> {
    vec![Target { name: "metadata-record", run: record }, Target { name: "metadata-replay", run: replay }]
}

/// A record in its frame: what decodes can be encoded, unless only an older version could carry it, and is then the same.
fn record(input: &[u8]) {
    let Ok(record) = MetadataRecord::decode(Bytes::copy_from_slice(input)) else { return };
    let Ok(encoded) = record.encode() else { return };
    let again = MetadataRecord::decode(encoded).expect("what was encoded can be decoded");
    assert_eq!(again.key(), record.key());
}

/// A log of records, each behind one byte that says how long it is: an image refuses what does not fit, and what it
/// became can be written as records (a snapshot) that make the same image.
fn replay(input: &[u8]) {
    let mut image = Image::default();
    let mut rest = input;
    while let Some((&length, behind)) = rest.split_first() {
        let (record, behind) = behind.split_at(behind.len().min(usize::from(length)));
        rest = behind;
        if let Ok(record) = MetadataRecord::decode(Bytes::copy_from_slice(record)) {
            let _ = image.apply(&record);
        }
    }
    let snapshot = image.to_records();
    let mut restored = Image::default();
    for record in &snapshot {
        restored.apply(record).expect("a snapshot's records fit");
    }
    assert_eq!(format!("{:?}", restored.to_records()), format!("{snapshot:?}"));
}
