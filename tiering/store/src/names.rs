//! What objects are called. Below the archive's prefix:
//!
//! ```text
//! data/<topic>/<topic id>/<partition>/<start>-<end>-<attempt>.parquet    an attempt at [start, end); never reused
//! manifest/<topic id>/<partition>/<start>.json                           the attempt that won, created once
//! deleted/<topic id>.json                                                the topic is deleted: sweep what is left
//! ```

use object_store::path::Path;
use strata_types::{Offset, PartitionId, TopicId, TopicName};
use uuid::Uuid;

const DATA: &str = "data";
const MANIFEST: &str = "manifest";
const DELETED: &str = "deleted";

/// The name for one attempt at archiving `[start, end)`.
pub(crate) fn data_object(
    topic: &TopicName,
    topic_id: TopicId,
    partition: PartitionId,
    (start, end): (Offset, Offset),
    attempt: Uuid,
) -> String {
    let folder = data_folder(topic, topic_id, partition);
    format!("{folder}/{:020}-{:020}-{}.parquet", start.0, end.0, attempt.simple())
}

pub(crate) fn data_folder(topic: &TopicName, topic_id: TopicId, partition: PartitionId) -> String {
    format!("{}/{partition}", topic_data_folder(topic, topic_id))
}

pub(crate) fn topic_data_folder(topic: &TopicName, topic_id: TopicId) -> String {
    format!("{DATA}/{topic}/{topic_id}")
}

/// The start offset that a data object's name states.
pub(crate) fn start_of_data_object(path: &Path) -> Option<Offset> {
    let name = path.filename()?.strip_suffix(".parquet")?;
    name.split('-').next()?.parse().ok().map(Offset)
}

pub(crate) fn manifest_root() -> &'static str {
    MANIFEST
}

pub(crate) fn topic_manifest_folder(topic_id: TopicId) -> String {
    format!("{MANIFEST}/{topic_id}")
}

pub(crate) fn manifest_folder(topic_id: TopicId, partition: PartitionId) -> String {
    format!("{MANIFEST}/{topic_id}/{partition}")
}

pub(crate) fn manifest_object(topic_id: TopicId, partition: PartitionId, start: Offset) -> String {
    format!("{MANIFEST}/{topic_id}/{partition}/{:020}.json", start.0)
}

pub(crate) fn deleted_marker(topic_id: TopicId) -> String {
    format!("{DELETED}/{topic_id}.json")
}

pub(crate) fn deleted_markers() -> &'static str {
    DELETED
}

/// The topic id that a marker names.
pub(crate) fn topic_of_marker(path: &Path) -> Option<TopicId> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_offset_and_differ_by_attempt() {
        let topic = TopicName::new("my.topic").expect("a name");
        let id = TopicId(Uuid::from_u128(1));
        let name = |start, attempt| {
            data_object(&topic, id, 3, (Offset(start), Offset(start + 1)), Uuid::from_u128(attempt))
        };
        assert!(name(9, 0) < name(10, 0));
        assert_ne!(name(9, 0), name(9, 1));
        assert!(name(9, 0).starts_with("data/my.topic/AAAAAAAAAAAAAAAAAAAAAQ/3/00000000000000000009-"));
        assert_eq!(start_of_data_object(&Path::from(name(9, 0))), Some(Offset(9)));
    }

    #[test]
    fn a_marker_names_its_topic() {
        let id = TopicId(Uuid::from_u128(7));
        assert_eq!(topic_of_marker(&Path::from(deleted_marker(id))), Some(id));
    }
}
