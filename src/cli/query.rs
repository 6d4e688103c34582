//! `strata query`: SQL over topics.

use clap::{Args, ValueEnum};
use strata_query::{Format, QueryEngine, QueryOptions};
use strata_store::ObjectStoreUrl;

use super::Bootstrap;
use crate::output::{self, Output};
use crate::progress::Progress;

#[derive(Debug, Args)]
#[command(
    after_help = "A topic is a table; quote its name. Columns: key, value (text), _partition, _offset, _timestamp, _key, _value (bytes), \
    _headers and more: SELECT * ... LIMIT 1 shows all.\n\nExamples:\n  \
    strata query 'SELECT count(*) FROM \"orders\"'\n  \
    strata query 'SELECT _partition, max(_offset) FROM \"orders\" GROUP BY 1 ORDER BY 1' --format csv\n  \
    strata query 'SELECT key, value FROM \"orders\" LIMIT 5' --object-store s3://bucket/prefix --offline"
)]
pub struct Query {
    sql: String,
    /// How rows are printed; `--output json` is the same as `--format json`.
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// Read cold records from the archive's own files, instead of through the broker.
    #[arg(long, value_name = "s3://BUCKET/PREFIX|file:///DIR")]
    object_store: Option<ObjectStoreUrl>,
    /// The archive alone: no broker is asked, and records that are not archived yet are not seen.
    #[arg(long, requires = "object_store")]
    offline: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    Table,
    Json,
    Csv,
}

impl Query {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        self.bootstrap.secure()?;
        let options = QueryOptions {
            bootstrap: Some(self.bootstrap.bootstrap_server).filter(|_| !self.offline),
            object_store: self.object_store,
            ..QueryOptions::default()
        };
        let format = match (self.format, output) {
            (Some(FormatArg::Csv), _) => Format::Csv,
            (Some(FormatArg::Json), _) | (None, Output::Json) => Format::Json,
            (Some(FormatArg::Table), _) | (None, Output::Table) => Format::Table,
        };
        let progress = Progress::spinner("querying");
        let engine = QueryEngine::new(options).await?;
        let result = engine.sql(&self.sql).await?;
        format.write(&mut progress.until_output(output::stdout()), result).await?;
        Ok(())
    }
}
