use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use strata_archive::schema;
use strata_store::{IndexEntry, Store};
use strata_types::TopicPartition;

use crate::error::QueryError;
use crate::hot::HotPiece;
use crate::prune::{offset_bounds, prune};
use crate::snapshot::{Piece, Snapshot};
use crate::source::Cluster;

/// The archive, as the engine addresses it.
pub(crate) const ARCHIVE_URL: &str = "strata://archive/";
/// Read with a footer, in one request, in the hope that it has the page index, which stands before it.
const PAGE_INDEX_BYTES: u64 = 64 << 10;

/// A topic's raw columns, hot and cold, at the moment of its snapshot.
#[derive(Debug)]
pub(crate) struct TopicTable {
    pub(crate) snapshot: Snapshot,
    pub(crate) cluster: Option<Arc<dyn Cluster>>,
    pub(crate) store: Option<Store>,
    pub(crate) schema: SchemaRef,
}

impl TopicTable {
    pub(crate) fn new(snapshot: Snapshot, cluster: Option<Arc<dyn Cluster>>, store: Option<Store>) -> Self {
        Self { snapshot, cluster, store, schema: schema() }
    }

    /// Parquet objects, whole; `wanted.predicate` spares row groups and pages.
    fn cold(
        &self,
        entries: &[Arc<IndexEntry>],
        store: &Store,
        wanted: &Wanted<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = entries.iter().filter(|entry| entry.range.rows > 0).map(|entry| file_of(entry, store));
        let mut source = ParquetSource::new(self.schema.clone());
        if let Some(predicate) = &wanted.predicate {
            source = source.with_predicate(predicate.clone());
        }
        let groups = FileGroup::new(files.collect()).split_files(wanted.partitions);
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(ARCHIVE_URL)?, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(wanted.projection.cloned())?
            .with_limit(wanted.limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn hot(
        &self,
        pieces: Vec<Arc<dyn PartitionStream>>,
        wanted: &Wanted<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (schema, unordered) = (self.schema.clone(), std::iter::empty());
        let exec =
            StreamingTableExec::try_new(schema, pieces, wanted.projection, unordered, false, wanted.limit)?;
        Ok(Arc::new(exec))
    }
}

/// What a scan is asked for.
struct Wanted<'a> {
    projection: Option<&'a Vec<usize>>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
    /// How many parts to work on at once.
    partitions: usize,
}

#[async_trait]
impl TableProvider for TopicTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Filters choose pieces, row groups and pages; the engine filters the rows.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = DFSchema::try_from(self.schema.clone())?;
        let predicate = conjunction(filters.iter().cloned())
            .map(|filter| state.create_physical_expr(filter, &columns))
            .transpose()?;
        let partitions = state.config().target_partitions();
        let wanted = Wanted { projection, predicate, limit, partitions };
        let bounds = offset_bounds(filters);
        let (mut cold, mut hot) = (Vec::new(), Vec::<Arc<dyn PartitionStream>>::new());
        for piece in prune(&self.snapshot.pieces, wanted.predicate.as_ref())? {
            match piece {
                Piece::Cold(entry) => cold.push(entry),
                Piece::Hot { partition, offsets } => {
                    let offsets = offsets.start.max(bounds.start)..offsets.end.min(bounds.end);
                    let cluster = self.cluster.clone().ok_or_else(|| QueryError::NoSource.into_engine())?;
                    if offsets.start < offsets.end {
                        let partition = TopicPartition::new(self.snapshot.topic.clone(), partition);
                        hot.push(Arc::new(HotPiece::new(
                            cluster,
                            self.snapshot.topic_id,
                            partition,
                            offsets,
                        )));
                    }
                }
            }
        }
        let mut parts = Vec::new();
        if let (false, Some(store)) = (cold.is_empty(), &self.store) {
            parts.push(self.cold(&cold, store, &wanted)?);
        }
        if !hot.is_empty() || parts.is_empty() {
            parts.push(self.hot(hot, &wanted)?);
        }
        if parts.len() > 1 { UnionExec::try_new(parts) } else { Ok(parts.remove(0)) }
    }
}

fn file_of(entry: &IndexEntry, store: &Store) -> PartitionedFile {
    let hint = entry.footer_bytes.saturating_add(PAGE_INDEX_BYTES).min(entry.object_bytes);
    let mut file = PartitionedFile::new("", entry.object_bytes).with_metadata_size_hint(hint as usize);
    file.object_meta.location = store.path(&entry.object);
    file
}
