use datafusion::error::DataFusionError;
use strata_client::ClientError;
use strata_store::StoreError;
use strata_types::{ErrorCode, Offset, TopicPartition};

/// How many other topics an error lists.
const TOPICS_SHOWN_MAX: usize = 10;

/// Why a query cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is no such topic. `known` are the names that there are.
    #[error("there is no topic '{name}'{}", hint(.name, .known))]
    UnknownTopic { name: String, known: Vec<String> },
    /// Neither a broker nor an archive to read from.
    #[error("give a broker (bootstrap server), an object store, or both")]
    NoSource,
    /// Statements that create, write or set something.
    #[error("only statements that read are answered: SELECT, SHOW, EXPLAIN")]
    NotReadOnly,
    /// The statement cannot be parsed, planned or executed.
    #[error("{0}")]
    Sql(DataFusionError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the broker: {0}")]
    Client(#[from] ClientError),
    /// Records went while they were being read.
    #[error("offset {offset} of {partition} is gone: retention took it while the query ran; run it again")]
    Gone { partition: TopicPartition, offset: Offset },
    /// The broker will not give a partition's records.
    #[error("reading {partition}: {code}")]
    Fetch { partition: TopicPartition, code: ErrorCode },
    /// The broker keeps answering with nothing below the end that it stated.
    #[error("the broker gives no records of {partition} from offset {offset} on, though there are some")]
    Stuck { partition: TopicPartition, offset: Offset },
    /// A batch cannot be read.
    #[error("a batch of {partition} is damaged: {why}")]
    Corrupt { partition: TopicPartition, why: String },
}

impl QueryError {
    /// An error of ours comes out of the engine as it went in.
    pub(crate) fn from_engine(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(inner) => Self::Sql(DataFusionError::External(inner)),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::from_engine(*inner)
            }
            error => Self::Sql(error),
        }
    }

    pub(crate) fn into_engine(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

fn hint(name: &str, known: &[String]) -> String {
    // SQL folds the case of names that are not quoted.
    if let Some(cased) = known.iter().find(|topic| topic.eq_ignore_ascii_case(name)) {
        return format!("; quote the name to keep its case: \"{cased}\"");
    }
    match known.len() {
        0 => "; there are none".to_owned(),
        count => {
            let shown: Vec<_> = known.iter().take(TOPICS_SHOWN_MAX).map(String::as_str).collect();
            let more = if count > TOPICS_SHOWN_MAX { ", …" } else { "" };
            format!("; there are: {}{more}", shown.join(", "))
        }
    }
}
