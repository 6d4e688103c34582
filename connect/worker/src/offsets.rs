//! Where sources go on: the offsets topic, and what it adds up to.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strata_plugin_host::SourcePosition;
use strata_protocol::records::Record;

use crate::cluster::{Cluster, ClusterError};
use crate::formats::{decode_offset, offset_record};

pub(crate) struct Offsets {
    cluster: Arc<dyn Cluster>,
    topic: String,
    /// By connector, then by partition of its source: both JSON.
    stored: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Offsets {
    pub(crate) fn restore(cluster: Arc<dyn Cluster>, topic: String, records: &[Record]) -> Self {
        let mut stored: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (connector, partition, offset) in records.iter().filter_map(decode_offset) {
            let of_connector = stored.entry(connector).or_default();
            match offset {
                Some(offset) => of_connector.insert(partition, offset),
                None => of_connector.remove(&partition),
            };
        }
        Offsets { cluster, topic, stored: Mutex::new(stored) }
    }

    pub(crate) fn of(&self, connector: &str) -> Vec<SourcePosition> {
        let stored = self.stored.lock();
        let positions = stored.get(connector).into_iter().flatten();
        positions
            .map(|(partition, offset)| SourcePosition {
                partition: partition.clone(),
                offset: offset.clone(),
            })
            .collect()
    }

    /// Done when they are acknowledged.
    pub(crate) async fn store(
        &self,
        connector: &str,
        positions: Vec<SourcePosition>,
    ) -> Result<(), ClusterError> {
        let records = positions.iter().map(|position| offset_record(connector, position)).collect();
        self.cluster.append(&self.topic, records).await?;
        let mut stored = self.stored.lock();
        let of_connector = stored.entry(connector.to_owned()).or_default();
        of_connector.extend(positions.into_iter().map(|position| (position.partition, position.offset)));
        Ok(())
    }
}
