//! One application from its deployment to its removal: started, tried again while what stops it passes, or failed.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use strata_client::{
    AutoOffsetReset, Client, ClientOptions, Consumer, ConsumerOptions, Producer, ProducerOptions,
};
use strata_plugin_host::{Grants, Graph, Host, Operator as PluginOperator, Plugin};
use strata_topology::{ApplicationId, Node, NodeId, Operator, Topology};
use strata_types::TopicName;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::running::Running;
use crate::status::{Reporter, State, Status};
use crate::topics;

/// The pause before an application is tried again; doubled for each further try.
const RETRY_MS_MIN: u64 = 200;
const RETRY_MS_MAX: u64 = 10_000;
/// An application that ran this long had a good start: the next pause is the shortest again.
const GOOD_START: Duration = Duration::from_secs(30);
/// How long leaving the group, and sending what was accepted, may take at the end.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// How long the group waits for a runtime that was killed, before others take over its tasks.
const SESSION_TIMEOUT_MS: u64 = 10_000;

/// What an application needs to run.
pub struct Context {
    pub client: Client,
    pub host: Host,
    /// The plugin's bytes; `None` where they were never uploaded.
    pub wasm: Option<Bytes>,
    pub deployment: Deployment,
    /// The offset of the deployment's record.
    pub deployed_at: i64,
    /// Who we are among the runtimes of the cluster.
    pub runtime_id: String,
    pub state_dir: PathBuf,
    pub commit_interval: Duration,
    pub stop: CancellationToken,
}

/// Runs until it is stopped. Says in the status topic how it is, and takes that back in the end.
pub async fn run(context: Context) {
    let name = &context.deployment.application;
    let reporter = match Reporter::new(&context.client, name, &context.runtime_id) {
        Ok(reporter) => reporter,
        Err(error) => return tracing::error!(application = name, %error, "cannot be started"),
    };
    let (mut pause_ms, mut reason) = (RETRY_MS_MIN, String::new());
    loop {
        let began = Instant::now();
        reporter.say(Some(&Status::new(State::Starting, &reason, context.deployed_at))).await;
        let error = match execute(&context, &reporter).await {
            Ok(()) => break,
            Err(error) => error,
        };
        reason = error.to_string();
        if !error.is_transient() {
            tracing::error!(application = name, %error, "failed");
            reporter.say(Some(&Status::new(State::Failed, &reason, context.deployed_at))).await;
            context.stop.cancelled().await;
            break;
        }
        if began.elapsed() > GOOD_START {
            pause_ms = RETRY_MS_MIN;
        }
        tracing::warn!(application = name, %error, "tried again in {pause_ms} ms");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            () = context.stop.cancelled() => break,
        }
        pause_ms = (pause_ms * 2).min(RETRY_MS_MAX);
    }
    reporter.say(None).await;
    tracing::info!(application = name, "stopped");
}

async fn execute(context: &Context, reporter: &Reporter) -> Result<(), RuntimeError> {
    let (plugin, topology) = tokio::select! {
        prepared = prepare(context) => prepared?,
        () = context.stop.cancelled() => return Ok(()),
    };
    let mut consumer = Consumer::new(&context.client, consumer_options(&context.deployment.application))?;
    let sources = topology.sub_topologies.iter().flat_map(|sub| &sub.sources);
    consumer.subscribe(&sources.map(|source| source.topic.clone()).collect::<Vec<_>>())?;
    let producer = Producer::new(&context.client, ProducerOptions::default())?;
    let mut running = Running::new(context, reporter, plugin, topology, producer.clone());

    let outcome = running.drive(&mut consumer).await;
    if matches!(outcome, Err(RuntimeError::Processing { .. })) {
        // Everything before the batch that failed is done, and need not be done again.
        let last = tokio::time::timeout(CLOSE_MAX, running.commit(&consumer)).await;
        if !matches!(last, Ok(Ok(()))) {
            tracing::warn!("the last commit of an application that failed did not succeed");
        }
    }
    // The tasks are closed before the group hears that we leave, and others open them.
    running.stop_opening().await;
    drop(running);
    let close = async {
        producer.close().await;
        consumer.close().await
    };
    match tokio::time::timeout(CLOSE_MAX, close).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the group was not left in order"),
        Err(_) => tracing::warn!("the group was not left in {CLOSE_MAX:?}"),
    }
    outcome
}

async fn prepare(context: &Context) -> Result<(Plugin, Topology), RuntimeError> {
    let Deployment { application, plugin, config } = &context.deployment;
    let Some(wasm) = &context.wasm else {
        let (application, sha256) = (application.clone(), plugin.clone());
        return Err(RuntimeError::PluginMissing { application, sha256 });
    };
    let plugin = context.host.load(wasm.clone()).await?;
    let graph = plugin.topology(&Grants::default(), config).await?.graph().clone();
    let topology = Topology::new(ApplicationId::new(application)?, graph_of(&graph)?)?;
    topics::prepare(&context.client, &topology).await?;
    Ok((plugin, topology))
}

fn consumer_options(application: &str) -> ConsumerOptions {
    ConsumerOptions {
        group_id: Some(application.to_owned()),
        auto_offset_reset: AutoOffsetReset::Earliest,
        enable_auto_commit: false,
        read_committed: true,
        session_timeout_ms: SESSION_TIMEOUT_MS,
        ..ConsumerOptions::default()
    }
}

/// How runtimes and their applications name themselves to brokers.
pub fn client_options() -> ClientOptions {
    ClientOptions { client_id: "strata-streams".into(), ..ClientOptions::default() }
}

/// The plugin's graph in the runtime's terms, checked.
fn graph_of(graph: &Graph) -> Result<strata_topology::Graph, RuntimeError> {
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let operator = match &node.operator {
            PluginOperator::Source { topics } => Operator::Source {
                topics: topics.iter().map(|topic| TopicName::new(topic)).collect::<Result<_, _>>()?,
            },
            PluginOperator::Stateless { keeps_key } => Operator::Stateless { keeps_key: *keeps_key },
            PluginOperator::Keyed { stores } => Operator::Keyed { stores: stores.clone() },
            PluginOperator::Sink { topic } => Operator::Sink { topic: TopicName::new(topic)? },
        };
        let inputs = node.inputs.iter().copied().map(NodeId).collect();
        nodes.push(Node { name: node.name.clone(), operator, inputs });
    }
    Ok(strata_topology::Graph::new(nodes)?)
}
