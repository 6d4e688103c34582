//! The metadata as group coordinators see them: a view over the image, with a version that stays where an image differs
//! in nothing that concerns groups (leaders, in-sync replicas).

use std::sync::Arc;

use parking_lot::Mutex;
use strata_coordinator::{MetadataView, Overrides, TopicInfo};
use strata_metadata::{Changes, ConfigResource, Image, Topic};
use strata_protocol::Str;
use strata_types::TopicId;
use uuid::Uuid;

use crate::internal::is_internal;

/// An image's topics, racks and group settings.
pub(crate) struct ImageView {
    image: Arc<Image>,
    /// The metadata log's offset at which something that concerns groups last changed; so it rises over restarts too.
    version: u64,
}

/// The newest view. All coordinators of a broker share it, so that the change from one image to the next is looked at
/// once.
#[derive(Default)]
pub(crate) struct Views {
    newest: Mutex<Option<Arc<ImageView>>>,
}

impl Views {
    /// The view over `image`; the one that was there, if nothing has changed.
    pub(crate) fn of(&self, image: Arc<Image>) -> Arc<ImageView> {
        let mut newest = self.newest.lock();
        let view = match newest.as_ref() {
            Some(view) if view.image.next_offset() >= image.next_offset() => return view.clone(),
            Some(view) if !concerns_groups(&Changes::between(&view.image, &image)) => {
                ImageView { image, version: view.version }
            }
            _ => ImageView { version: image.next_offset().0.unsigned_abs(), image },
        };
        newest.insert(Arc::new(view)).clone()
    }
}

fn concerns_groups(changes: &Changes) -> bool {
    let topic_differs = |change: &strata_metadata::TopicChange| {
        let replicas =
            |topic: &Topic| topic.partitions.iter().map(|p| p.replicas.clone()).collect::<Vec<_>>();
        replicas(&change.before) != replicas(&change.after)
    };
    !changes.created.is_empty()
        || !changes.deleted.is_empty()
        || !changes.brokers.is_empty()
        || changes.changed.iter().any(topic_differs)
        || changes.configs.iter().any(|resource| matches!(resource, ConfigResource::Group(_)))
}

impl std::fmt::Debug for ImageView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageView").field("version", &self.version).finish_non_exhaustive()
    }
}

impl MetadataView for ImageView {
    fn version(&self) -> u64 {
        self.version
    }

    fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.image.topic(name).map(|topic| info(topic))
    }

    fn topic_by_id(&self, id: Uuid) -> Option<TopicInfo> {
        self.image.topic_by_id(TopicId(id)).map(|topic| info(topic))
    }

    fn racks(&self, topic: Uuid, partition: i32) -> Vec<Str> {
        let topic = self.image.topic_by_id(TopicId(topic));
        let replicas = topic.and_then(|topic| topic.partition(partition)).map(|p| p.replicas.as_slice());
        let brokers = replicas.unwrap_or_default().iter().filter_map(|id| self.image.broker(*id));
        let mut racks: Vec<Str> = brokers.filter_map(|broker| broker.rack.clone()).collect();
        racks.sort();
        racks.dedup();
        racks
    }

    fn for_each_topic(&self, visit: &mut dyn FnMut(&str)) {
        self.image.topics().for_each(|topic| visit(topic.name.as_str()));
    }

    fn group_config(&self, group: &str) -> Option<Arc<Overrides>> {
        let config = self.image.config(&ConfigResource::Group(Str::from(group)));
        (!config.is_empty()).then_some(config)
    }
}

fn info(topic: &Topic) -> TopicInfo {
    TopicInfo {
        id: topic.id.0,
        name: Str::from(topic.name.as_str()),
        partitions: topic.partitions.len() as i32,
        is_internal: is_internal(topic.name.as_str()),
    }
}
