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
}

impl Metadata {
    pub(super) fn view(&self) -> &dyn MetadataView {
        self.view.as_ref()
    }

    pub(super) fn set(&mut self, view: Arc<dyn MetadataView>, is_known: impl Fn(&Str) -> bool) {
        self.view = view;
        self.seen.retain(|group, _| is_known(group));
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
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self { view: Arc::new(NoMetadata), seen: HashMap::new() }
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
    for (name, hash) in &existing {
        bytes.string(name);
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
