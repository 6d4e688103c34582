use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{LogicalPlanBuilder, ScalarUDF, TableType};
use datafusion::prelude::{Expr, col, ident};
use strata_archive::column;
use strata_store::{Store, TierIndex, read_manifest};
use strata_types::TopicName;
use tokio::sync::{Mutex, OnceCell};

use crate::error::QueryError;
use crate::snapshot::Snapshot;
use crate::source::Cluster;
use crate::table::TopicTable;

/// The topics as tables, for one statement: a topic that is named twice is the same snapshot twice.
#[derive(Debug)]
pub(crate) struct Topics {
    cluster: Option<Arc<dyn Cluster>>,
    store: Option<Store>,
    text: ScalarUDF,
    names: Vec<String>,
    index: OnceCell<TierIndex>,
    tables: Mutex<HashMap<String, Arc<dyn TableProvider>>>,
}

impl Topics {
    pub(crate) async fn new(
        cluster: Option<Arc<dyn Cluster>>,
        store: Option<Store>,
        text: ScalarUDF,
    ) -> std::result::Result<Self, QueryError> {
        let mut topics = Self {
            cluster,
            store,
            text,
            names: Vec::new(),
            index: OnceCell::new(),
            tables: Mutex::default(),
        };
        let names: Vec<TopicName> = match &topics.cluster {
            Some(cluster) => cluster.topics().await?,
            None => match topics.index().await? {
                Some(index) => index.topics().into_iter().map(|(name, _)| name).collect(),
                None => return Err(QueryError::NoSource),
            },
        };
        topics.names = names.iter().map(TopicName::to_string).collect();
        topics.names.sort_unstable();
        topics.names.dedup();
        Ok(topics)
    }

    /// What is archived: as the cluster has it, or else from the bucket alone. `None` without a bucket to read.
    async fn index(&self) -> std::result::Result<Option<&TierIndex>, QueryError> {
        let Some(store) = &self.store else { return Ok(None) };
        let load = || async {
            match &self.cluster {
                Some(cluster) => cluster.tier_index().await,
                None => Ok(read_manifest(store).await?),
            }
        };
        self.index.get_or_try_init(load).await.map(Some)
    }

    async fn snapshot(&self, name: &TopicName) -> std::result::Result<Option<Snapshot>, QueryError> {
        // First the index, then the topic's end: so the end covers what the index knows.
        let index = self.index().await?;
        match &self.cluster {
            Some(cluster) => {
                let state = cluster.topic(name).await?;
                Ok(state.map(|state| Snapshot::of_cluster(name.clone(), &state, index)))
            }
            None => Ok(index.and_then(|index| Snapshot::of_archive(name, index))),
        }
    }

    /// The raw columns, and `key` and `value` as text.
    fn view(&self, snapshot: Snapshot) -> Result<Arc<dyn TableProvider>> {
        let name = snapshot.topic.to_string();
        let table = TopicTable::new(snapshot, self.cluster.clone(), self.store.clone());
        let mut columns: Vec<Expr> = column::ALL.iter().map(|name| ident(*name)).collect();
        columns.push(self.text.call(vec![col(column::KEY)]).alias("key"));
        columns.push(self.text.call(vec![col(column::VALUE)]).alias("value"));
        let source = provider_as_source(Arc::new(table));
        // Quoted, as a topic's name may have dots.
        let name = datafusion::sql::TableReference::bare(name);
        let plan = LogicalPlanBuilder::scan(name, source, None)?.project(columns)?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

#[async_trait]
impl SchemaProvider for Topics {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_names(&self) -> Vec<String> {
        self.names.clone()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let mut tables = self.tables.lock().await;
        if let Some(table) = tables.get(name) {
            return Ok(Some(table.clone()));
        }
        let snapshot = match TopicName::new(name) {
            Ok(topic) => self.snapshot(&topic).await.map_err(QueryError::into_engine)?,
            Err(_) => None,
        };
        let Some(snapshot) = snapshot else {
            let (name, known) = (name.to_owned(), self.names.clone());
            return Err(QueryError::UnknownTopic { name, known }.into_engine());
        };
        let table = self.view(snapshot)?;
        tables.insert(name.to_owned(), table.clone());
        Ok(Some(table))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}
