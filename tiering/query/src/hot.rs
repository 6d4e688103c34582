use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt, stream};
use strata_archive::{ColumnsBuilder, schema};
use strata_protocol::records::{Batch, ControlType, DecompressLimit, batches};
use strata_types::{Offset, ProducerId, TopicId, TopicPartition};

use crate::error::QueryError;
use crate::source::{Cluster, Fetched};

/// A fetch may come back empty, while a leader moves say, so often in a row.
const EMPTY_FETCHES_MAX: u32 = 20;
/// What one batch may decompress to.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;
/// Rows are handed on once they have this many bytes.
const ROWS_BYTES_MAX: usize = 8 << 20;

/// A stretch of a partition, read from the cluster: committed records only, each once.
#[derive(Debug)]
pub(crate) struct HotPiece {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) topic_id: TopicId,
    pub(crate) partition: TopicPartition,
    pub(crate) offsets: Range<Offset>,
    pub(crate) schema: SchemaRef,
}

impl HotPiece {
    pub(crate) fn new(
        cluster: Arc<dyn Cluster>,
        topic_id: TopicId,
        partition: TopicPartition,
        offsets: Range<Offset>,
    ) -> Self {
        Self { cluster, topic_id, partition, offsets, schema: schema() }
    }
}

impl PartitionStream for HotPiece {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let reader = Reader {
            cluster: self.cluster.clone(),
            topic_id: self.topic_id,
            partition: self.partition.clone(),
            at: self.offsets.start,
            end: self.offsets.end,
            rows_max: context.session_config().batch_size(),
        };
        let rows = stream::try_unfold(reader, |mut reader| async move {
            let rows = reader.next().await.map_err(QueryError::into_engine)?;
            Ok::<_, DataFusionError>(rows.map(|rows| (stream::iter(rows.into_iter().map(Ok)), reader)))
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows.try_flatten().boxed()))
    }
}

struct Reader {
    cluster: Arc<dyn Cluster>,
    topic_id: TopicId,
    partition: TopicPartition,
    at: Offset,
    end: Offset,
    rows_max: usize,
}

impl Reader {
    /// The rows of the next answer; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<RecordBatch>>, QueryError> {
        let mut empty = 0;
        while self.at < self.end {
            let fetched = self.cluster.fetch(self.topic_id, &self.partition, self.at).await?;
            let before = self.at;
            let rows = self.decode(fetched)?;
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
            empty = if self.at > before { 0 } else { empty + 1 };
            if empty >= EMPTY_FETCHES_MAX {
                return Err(QueryError::Stuck { partition: self.partition.clone(), offset: self.at });
            }
        }
        Ok(None)
    }

    fn decode(&mut self, fetched: Fetched) -> Result<Vec<RecordBatch>, QueryError> {
        let mut committed = Committed::new(fetched.aborted);
        let (mut rows, mut columns) = (Vec::new(), ColumnsBuilder::default());
        for batch in batches(fetched.batches) {
            let batch = batch.map_err(|error| self.corrupt(error))?;
            let header = batch.header();
            if header.base_offset >= self.end {
                self.at = self.end;
                break;
            }
            if header.last_offset() >= self.at && committed.shows(&batch).map_err(|e| self.corrupt(e))? {
                let records = batch.records(DecompressLimit(DECOMPRESSED_BYTES_MAX));
                for record in records.map_err(|error| self.corrupt(error))? {
                    let record = record.map_err(|error| self.corrupt(error))?;
                    if record.offset < self.at.0 || record.offset >= self.end.0 {
                        continue;
                    }
                    columns.push(self.partition.partition, header, &record);
                    if columns.rows() >= self.rows_max || columns.raw_bytes() >= ROWS_BYTES_MAX {
                        rows.push(columns.finish());
                    }
                }
            }
            self.at = self.at.max(header.next_offset());
        }
        if columns.rows() > 0 {
            rows.push(columns.finish());
        }
        Ok(rows)
    }

    fn corrupt(&self, why: impl std::fmt::Display) -> QueryError {
        QueryError::Corrupt { partition: self.partition.clone(), why: why.to_string() }
    }
}

/// Which batches of one answer a `read_committed` reader sees, by Kafka's rule: a producer's batches are aborted from
/// the first offset that the answer states up to its abort marker.
struct Committed {
    /// By offset, the first one last.
    aborted: Vec<(ProducerId, Offset)>,
    aborting: HashSet<ProducerId>,
}

impl Committed {
    fn new(mut aborted: Vec<(ProducerId, Offset)>) -> Self {
        aborted.sort_unstable_by_key(|(_, first)| std::cmp::Reverse(*first));
        Self { aborted, aborting: HashSet::new() }
    }

    fn shows(&mut self, batch: &Batch) -> Result<bool, strata_protocol::records::BatchError> {
        let header = batch.header();
        while let Some((producer, _)) = self.aborted.pop_if(|(_, first)| *first <= header.last_offset()) {
            self.aborting.insert(producer);
        }
        if header.is_control() {
            let marker = batch.records(DecompressLimit(DECOMPRESSED_BYTES_MAX))?.next().transpose()?;
            if marker.is_some_and(|marker| ControlType::of(&marker) == Some(ControlType::Abort)) {
                self.aborting.remove(&header.producer_id);
            }
            return Ok(false);
        }
        Ok(!(header.is_transactional() && self.aborting.contains(&header.producer_id)))
    }
}
