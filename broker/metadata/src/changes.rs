//! What differs between two images: the news on which a broker opens, closes and reconfigures its logs.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use strata_types::NodeId;

use crate::{ConfigResource, Image, Topic};

/// The difference between an older and a newer image. It may span many records: only the outcome counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Topics that are new. One that was deleted and created again in between is in both `deleted` and `created`.
    pub created: Vec<Arc<Topic>>,
    /// Topics that are gone, as they last were in the older image.
    pub deleted: Vec<Arc<Topic>>,
    /// Topics that are still the same, with other partitions, leaders or in-sync replicas.
    pub changed: Vec<TopicChange>,
    /// Resources whose configs differ. A created topic's are not repeated here, unless it replaces a deleted one.
    pub configs: Vec<ConfigResource>,
    /// Brokers that came, went, or whose registration differs.
    pub brokers: Vec<NodeId>,
    /// Whether anybody's quotas differ.
    pub client_quotas: bool,
}

/// A topic before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicChange {
    pub before: Arc<Topic>,
    pub after: Arc<Topic>,
}

impl Changes {
    /// What happened between two images. Costs what differs, not what there is, if one image grew out of the other.
    pub fn between(old: &Image, new: &Image) -> Self {
        let mut changes = Self::default();
        for item in old.topics.diff(&new.topics) {
            match item {
                DiffItem::Add(_, topic) => changes.created.push(Arc::clone(topic)),
                DiffItem::Remove(_, topic) => changes.deleted.push(Arc::clone(topic)),
                DiffItem::Update { old: (_, before), new: (_, after) } if before.id == after.id => {
                    changes
                        .changed
                        .push(TopicChange { before: Arc::clone(before), after: Arc::clone(after) });
                }
                DiffItem::Update { old: (_, before), new: (_, after) } => {
                    changes.deleted.push(Arc::clone(before));
                    changes.created.push(Arc::clone(after));
                }
            }
        }
        for item in old.configs.diff(&new.configs) {
            match item {
                DiffItem::Add(resource, _) if changes.has_created(resource) => {}
                DiffItem::Remove(resource, _) if is_gone(new, resource) => {}
                DiffItem::Add(resource, _)
                | DiffItem::Remove(resource, _)
                | DiffItem::Update { new: (resource, _), .. } => changes.configs.push(resource.clone()),
            }
        }
        for item in old.brokers.diff(&new.brokers) {
            match item {
                DiffItem::Add(&id, _) | DiffItem::Remove(&id, _) | DiffItem::Update { new: (&id, _), .. } => {
                    changes.brokers.push(id);
                }
            }
        }
        changes.client_quotas = old.client_quotas.diff(&new.client_quotas).next().is_some();
        changes
    }

    /// Whether nothing differs that a broker acts on.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn has_created(&self, resource: &ConfigResource) -> bool {
        // Both lists are in the order of the names.
        matches!(resource, ConfigResource::Topic(name)
            if self.created.binary_search_by(|topic| topic.name.cmp(name)).is_ok())
    }
}

fn is_gone(new: &Image, resource: &ConfigResource) -> bool {
    matches!(resource, ConfigResource::Topic(name) if new.topic(name.as_str()).is_none())
}
