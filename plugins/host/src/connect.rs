//! Connectors and transforms.

use bytes::Bytes;

use crate::bindings::sink_connector::SinkConnector;
use crate::bindings::source_connector::SourceConnector;
use crate::bindings::source_connector::exports::strata::plugin::source as source_wit;
use crate::bindings::transform::Transform;
use crate::imports::Usage;
use crate::instance::{Instance, returned};
use crate::{BatchHeader, PluginError, records};

/// How far a part of the outside world has been read. Both are JSON objects, as in Kafka Connect's offsets topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    pub partition: String,
    pub offset: String,
}

/// Records that a source brings in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceBatch {
    pub topic: String,
    /// None: by the records' keys.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, UTC; the records' deltas count from it.
    pub base_timestamp: i64,
    /// How many records there are; they are well-formed.
    pub count: u32,
    pub records: Bytes,
    /// Where to go on once these records are stored.
    pub position: SourcePosition,
}

/// Records that a transform changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformedBatch {
    pub topic: String,
    /// None: by the records' keys.
    pub partition: Option<i32>,
    pub count: u32,
    /// Deltas count from the call's header.
    pub records: Bytes,
}

/// A running source.
pub struct SourceInstance {
    instance: Instance<SourceConnector>,
}

/// A running sink.
pub struct SinkInstance {
    instance: Instance<SinkConnector>,
}

/// A running transform.
pub struct TransformInstance {
    instance: Instance<Transform>,
}

impl SourceInstance {
    pub(crate) async fn start(
        mut instance: Instance<SourceConnector>,
        config: Vec<(String, String)>,
        positions: &[SourcePosition],
    ) -> Result<Self, PluginError> {
        let position = |position: &SourcePosition| source_wit::Position {
            partition: position.partition.clone(),
            offset: position.offset.clone(),
        };
        let positions: Vec<_> = positions.iter().map(position).collect();
        let init = instance.call(async |exports, store| {
            exports.strata_plugin_source().call_init(store, &config, &positions).await
        });
        init.await?.map_err(returned)?;
        Ok(SourceInstance { instance })
    }

    /// What there is now, at most about `records_max` records. Empty: nothing now, ask again later.
    pub async fn poll(&mut self, records_max: u32) -> Result<Vec<SourceBatch>, PluginError> {
        let poll = self
            .instance
            .call(async |exports, store| exports.strata_plugin_source().call_poll(store, records_max).await);
        let batches = poll.await?.map_err(returned)?;
        let checked: Result<_, _> = batches.into_iter().map(check).collect();
        if checked.is_err() {
            self.instance.discard();
        }
        checked
    }

    /// What the last call used.
    pub fn usage(&self) -> Usage {
        self.instance.usage()
    }
}

impl SinkInstance {
    pub(crate) async fn start(
        mut instance: Instance<SinkConnector>,
        config: Vec<(String, String)>,
    ) -> Result<Self, PluginError> {
        let init = instance
            .call(async |exports, store| exports.strata_plugin_sink().call_init(store, &config).await);
        init.await?.map_err(returned)?;
        Ok(SinkInstance { instance })
    }

    /// Success: the records are delivered. After an error they may be put again.
    pub async fn put(&mut self, header: &BatchHeader, records: Bytes) -> Result<(), PluginError> {
        let header = header.into();
        let put = self.instance.call(async |exports, store| {
            exports.strata_plugin_sink().call_put(store, &header, &records).await
        });
        put.await?.map_err(returned)
    }

    /// What the last call used.
    pub fn usage(&self) -> Usage {
        self.instance.usage()
    }
}

impl TransformInstance {
    pub(crate) async fn start(
        mut instance: Instance<Transform>,
        config: Vec<(String, String)>,
    ) -> Result<Self, PluginError> {
        let init = instance
            .call(async |exports, store| exports.strata_plugin_transformer().call_init(store, &config).await);
        init.await?.map_err(returned)?;
        Ok(TransformInstance { instance })
    }

    pub async fn apply(
        &mut self,
        header: &BatchHeader,
        records: Bytes,
    ) -> Result<Vec<TransformedBatch>, PluginError> {
        let header = header.into();
        let apply = self.instance.call(async |exports, store| {
            exports.strata_plugin_transformer().call_apply(store, &header, &records).await
        });
        let batches = apply.await?.map_err(returned)?;
        let checked = batches.into_iter().map(|batch| {
            let records = batch.records.into();
            let (topic, partition, count) = (batch.topic, batch.partition, count(&records)?);
            Ok(TransformedBatch { topic, partition, count, records })
        });
        let checked: Result<_, _> = checked.collect();
        if checked.is_err() {
            self.instance.discard();
        }
        checked
    }
}

fn check(batch: source_wit::SourceBatch) -> Result<SourceBatch, PluginError> {
    let source_wit::Position { partition, offset } = batch.position;
    for json in [&partition, &offset] {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json)
            .map_err(|why| PluginError::Malformed(format!("a position is not a JSON object: {why}")))?;
    }
    let records = batch.records.into();
    Ok(SourceBatch {
        topic: batch.topic,
        partition: batch.partition,
        base_timestamp: batch.base_timestamp,
        count: count(&records)?,
        records,
        position: SourcePosition { partition, offset },
    })
}

fn count(records: &Bytes) -> Result<u32, PluginError> {
    records::count(records).map_err(|why| PluginError::Malformed(why.to_string()))
}
