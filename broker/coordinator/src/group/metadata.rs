//! What groups need to know of topics. The shell has it; here it is a view, and a number that says when it changed.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use strata_protocol::Str;
use twox_hash::XxHash3_64;
use uuid::Uuid;

/// What is set on a resource, by the setting's name.
pub type Overrides = BTreeMap<Str, Str>;

/// Topics, the racks of their partitions, and groups' own settings, as of one moment.
pub trait MetadataView: Debug + Send + Sync {
    /// Differs from every earlier view's, if anything else in here does.
    fn version(&self) -> u64;
    fn topic(&self, name: &str) -> Option<TopicInfo>;
    fn topic_by_id(&self, id: Uuid) -> Option<TopicInfo>;
    /// Where the partition's replicas are: distinct racks, sorted. Empty if they have none.
    fn racks(&self, topic: Uuid, partition: i32) -> Vec<Str>;
    /// Every topic's name, in their order; those of the broker's own topics too.
    fn for_each_topic(&self, visit: &mut dyn FnMut(&str));
    /// What is set on a group (resource type 32), if anything.
    fn group_config(&self, group: &str) -> Option<Arc<Overrides>>;
}

/// Which topics a member may see: those that its regular expression may find.
pub trait TopicAccess: Debug + Send + Sync {
    fn may_describe(&self, topic: &str) -> bool;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub id: Uuid,
    pub name: Str,
    /// How many.
    pub partitions: i32,
    /// Whether it is the broker's own.
    pub is_internal: bool,
}

/// The metadata of a shard: the newest view, and which group has seen which.
#[derive(Debug)]
pub(super) struct Metadata {
    view: Arc<dyn MetadataView>,
    /// The version that a group's hash was last computed with. Groups that are gone are swept when a view comes.
    seen: HashMap<Str, u64>,
    /// As whom each group's regular expressions are resolved next: the member whose heartbeat brought that about.
    access: HashMap<Str, Arc<dyn TopicAccess>>,
}

impl Metadata {
    pub(super) fn view(&self) -> &dyn MetadataView {
        self.view.as_ref()
    }

    pub(super) fn set(&mut self, view: Arc<dyn MetadataView>, is_known: impl Fn(&Str) -> bool) {
        let same = self.view.version() == view.version();
        self.view = view;
        if !same {
            self.seen.retain(|group, _| is_known(group));
        }
    }

    pub(super) fn resolve_as(&mut self, group: &Str, access: Option<Arc<dyn TopicAccess>>) {
        match access {
            Some(access) => drop(self.access.insert(group.clone(), access)),
            None => drop(self.access.remove(group)),
        }
    }

    /// Taken by the resolution; without one, everything may be seen.
    pub(super) fn take_access(&mut self, group: &Str) -> Option<Arc<dyn TopicAccess>> {
        self.access.remove(group)
    }

    /// Whether the group has not been looked at since topics changed.
    pub(super) fn is_stale(&self, group: &Str) -> bool {
        self.seen.get(group) != Some(&self.view.version())
    }

    pub(super) fn refreshed(&mut self, group: &Str) {
        self.seen.insert(group.clone(), self.view.version());
    }

    /// Has every group look at its topics again: what they learnt may have been undone.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
        self.access.clear();
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self { view: Arc::new(NoMetadata), seen: HashMap::new(), access: HashMap::new() }
    }
}

/// Before the shell has given any: there are no topics.
#[derive(Debug)]
struct NoMetadata;

impl MetadataView for NoMetadata {
    fn version(&self) -> u64 {
        0
    }

    fn topic(&self, _name: &str) -> Option<TopicInfo> {
        None
    }

    fn topic_by_id(&self, _id: Uuid) -> Option<TopicInfo> {
        None
    }

    fn racks(&self, _topic: Uuid, _partition: i32) -> Vec<Str> {
        Vec::new()
    }

    fn for_each_topic(&self, _visit: &mut dyn FnMut(&str)) {}

    fn group_config(&self, _group: &str) -> Option<Arc<Overrides>> {
        None
    }
}

/// Kafka's mark of the hash's composition, should it change.
const TOPIC_HASH_MAGIC: u8 = 0;

/// What a group's topics look like, in one number: Kafka's `computeGroupHash`, bit for bit. Topics that do not exist do
/// not count; 0 stands for none.
pub(super) fn group_hash<'a>(view: &dyn MetadataView, topics: impl Iterator<Item = &'a Str>) -> i64 {
    let existing: BTreeMap<Str, i64> = topics
        .filter_map(|name| view.topic(name))
        .map(|topic| (topic.name.clone(), topic_hash(view, &topic)))
        .collect();
    if existing.is_empty() {
        return 0;
    }
    let mut bytes = HashBytes::default();
    for hash in existing.values() {
        bytes.0.extend_from_slice(&hash.to_le_bytes());
    }
    bytes.finish()
}

fn topic_hash(view: &dyn MetadataView, topic: &TopicInfo) -> i64 {
    let mut bytes = HashBytes::default();
    let (most, least) = topic.id.as_u64_pair();
    bytes.0.push(TOPIC_HASH_MAGIC);
    bytes.0.extend_from_slice(&most.to_le_bytes());
    bytes.0.extend_from_slice(&least.to_le_bytes());
    bytes.string(&topic.name);
    bytes.int(topic.partitions);
    for partition in 0..topic.partitions {
        bytes.int(partition);
        for rack in view.racks(topic.id, partition) {
            bytes.int(rack.encode_utf16().count() as i32);
            bytes.string(&rack);
        }
    }
    bytes.finish()
}

/// The bytes that hash4j's streams hash: little-endian numbers, strings as UTF-16 with their length behind.
#[derive(Default)]
struct HashBytes(Vec<u8>);

impl HashBytes {
    fn int(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        let before = self.0.len();
        self.0.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        self.int(((self.0.len() - before) / 2) as i32);
    }

    fn finish(self) -> i64 {
        XxHash3_64::oneshot(&self.0) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct OneTopic;

    impl MetadataView for OneTopic {
        fn version(&self) -> u64 {
            1
        }

        fn topic(&self, name: &str) -> Option<TopicInfo> {
            // As Kafka 4.3.1 had them: BWXHu_aJTLmqB1-vjM1S0A and DmvwRMhCS4WIoU_p5f_gVw.
            let (id, partitions) = match name {
                "hashed" => (Uuid::from_u128(0x0565_c7bb_f689_4cb9_aa07_5faf_8ccd_52d0), 3),
                "hashed2" => (Uuid::from_u128(0x0e6b_f044_c842_4b85_88a1_4fe9_e5ff_e057), 1),
                _ => return None,
            };
            Some(TopicInfo { id, name: Str::from(name), partitions, is_internal: false })
        }

        fn topic_by_id(&self, _id: Uuid) -> Option<TopicInfo> {
            None
        }

        fn racks(&self, _topic: Uuid, _partition: i32) -> Vec<Str> {
            Vec::new()
        }

        fn for_each_topic(&self, _visit: &mut dyn FnMut(&str)) {}

        fn group_config(&self, _group: &str) -> Option<Arc<Overrides>> {
            None
        }
    }

    #[test]
    fn a_hash_is_the_one_that_kafka_writes() {
        let hash = |names: &[&str]| {
            let names: Vec<Str> = names.iter().map(|name| Str::from(*name)).collect();
            group_hash(&OneTopic, names.iter())
        };
        assert_eq!(hash(&["hashed"]), -8_205_099_878_218_643_719);
        assert_eq!(hash(&["hashed2", "hashed", "not there"]), -8_741_113_638_916_183_850);
        assert_eq!(hash(&["not there"]), 0);
    }
}
