use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use strata_client::{Client, ClientOptions};
use strata_store::Store;

use crate::broker::Broker;
use crate::catalog::Topics;
use crate::error::QueryError;
use crate::json::json_get;
use crate::source::Cluster;
use crate::table::ARCHIVE_URL;
use crate::text::text;

const CATALOG: &str = "strata";
const SCHEMA: &str = "topics";
/// How long to look for a broker that answers: someone waits at the prompt.
const CONNECT_MS_MAX: u64 = 3_000;

/// What to read from, and how much a query may take.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// `host:port,host:port`. Without it, only the archive is read.
    pub bootstrap: Option<String>,
    /// Where the archive is. Without it, the broker serves archived records, too: slower, as each becomes a batch first.
    pub object_store: Option<strata_store::ObjectStoreUrl>,
    /// What sorts, joins and aggregations may hold; they spill to temporary files beyond.
    pub memory_bytes_max: usize,
    /// Threads' worth of parallel work; 0: as many as there are processors.
    pub parallelism: usize,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self { bootstrap: None, object_store: None, memory_bytes_max: 1 << 30, parallelism: 0 }
    }
}

/// SQL over topics.
pub struct QueryEngine {
    cluster: Option<Arc<dyn Cluster>>,
    store: Option<Store>,
    runtime: Arc<RuntimeEnv>,
    parallelism: usize,
}

/// Rows as they come.
pub struct QueryResult {
    stream: SendableRecordBatchStream,
}

impl QueryResult {
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// Rows as they come; see [`QueryResult::next`] for errors that are ours.
    pub fn into_stream(self) -> SendableRecordBatchStream {
        self.stream
    }

    /// The next rows; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<arrow::array::RecordBatch, QueryError>> {
        let rows = futures::StreamExt::next(&mut self.stream).await?;
        Some(rows.map_err(QueryError::from_engine))
    }
}

impl QueryEngine {
    /// Connects to what `options` names.
    pub async fn new(options: QueryOptions) -> Result<Self, QueryError> {
        let cluster: Option<Arc<dyn Cluster>> = match &options.bootstrap {
            Some(bootstrap) => {
                let client_options = ClientOptions {
                    client_id: "strata-query".into(),
                    // A topic that is not there is an answer, not something to wait for.
                    unknown_topic_wait_ms: 0,
                    connect_timeout_ms: CONNECT_MS_MAX,
                    bootstrap_timeout_ms: CONNECT_MS_MAX,
                    ..ClientOptions::default()
                };
                Some(Arc::new(Broker::new(Client::connect(bootstrap, client_options).await?)))
            }
            None => None,
        };
        let store = options.object_store.as_ref().map(|url| url.open()).transpose()?;
        Self::with_sources(cluster, store, &options)
    }

    /// Over sources of the caller's: a test's, or a broker's own.
    pub fn with_sources(
        cluster: Option<Arc<dyn Cluster>>,
        store: Option<Store>,
        options: &QueryOptions,
    ) -> Result<Self, QueryError> {
        if cluster.is_none() && store.is_none() {
            return Err(QueryError::NoSource);
        }
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes_max)))
            .build_arc()
            .map_err(QueryError::Sql)?;
        if let Some(store) = &store {
            let url = ObjectStoreUrl::parse(ARCHIVE_URL).map_err(QueryError::Sql)?;
            runtime.register_object_store(url.as_ref(), store.object_store().clone());
        }
        Ok(Self { cluster, store, runtime, parallelism: options.parallelism })
    }

    /// Plans and starts a statement. It may only read: nothing is created, written or set.
    pub async fn sql(&self, sql: &str) -> Result<QueryResult, QueryError> {
        let context = self.context().await?;
        let plan = plan(&context.state(), sql).await?;
        let frame = context.execute_logical_plan(plan).await.map_err(QueryError::from_engine)?;
        let stream = frame.execute_stream().await.map_err(QueryError::from_engine)?;
        Ok(QueryResult { stream })
    }

    /// A context of its own for each statement, so that each sees one moment.
    async fn context(&self) -> Result<SessionContext, QueryError> {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        if self.parallelism > 0 {
            config = config.with_target_partitions(self.parallelism);
        }
        let context = SessionContext::new_with_config_rt(config, self.runtime.clone());
        context.register_udf(text());
        context.register_udf(json_get());
        let topics = Topics::new(self.cluster.clone(), self.store.clone(), text()).await?;
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(topics)).map_err(QueryError::Sql)?;
        context.register_catalog(CATALOG, Arc::new(catalog));
        Ok(context)
    }
}

/// Parses and plans a statement that only reads. The statement is looked at before it is planned, so that the answer to
/// `CREATE TABLE t` is not that there is no topic `t`; and the plan is, for what stands within an `EXPLAIN`.
async fn plan(state: &SessionState, sql: &str) -> Result<LogicalPlan, QueryError> {
    let dialect = state.config_options().sql_parser.dialect;
    let parsed = state.sql_to_statement(sql, &dialect).map_err(QueryError::from_engine)?;
    let reads = match &parsed {
        Statement::Explain(explain) => {
            matches!(&*explain.statement, Statement::Statement(inner) if is_read(inner))
        }
        Statement::Statement(statement) => is_read(statement),
        _ => false,
    };
    if !reads {
        return Err(QueryError::NotReadOnly);
    }
    let plan = state.statement_to_plan(parsed).await.map_err(QueryError::from_engine)?;
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(|_| QueryError::NotReadOnly)?;
    Ok(plan)
}

fn is_read(statement: &ast::Statement) -> bool {
    use ast::Statement::{Explain, ExplainTable, Query, ShowColumns, ShowTables, ShowVariable};
    match statement {
        Query(_) | ShowTables { .. } | ShowColumns { .. } | ShowVariable { .. } | ExplainTable { .. } => true,
        Explain { statement, .. } => is_read(statement),
        _ => false,
    }
}
