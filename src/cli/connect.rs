//! `strata connect`: a worker, and the commands that tell one what to run, through Kafka Connect's REST API.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strata_worker::{Worker, WorkerConfig};

use super::{Bootstrap, Stop};
use crate::output::{Output, Row};
use crate::shipped;

#[derive(Debug, Subcommand)]
pub enum Connect {
    /// Run a Connect worker in the foreground, with Kafka Connect's REST API
    Worker(WorkerArgs),
    /// Create a connector, or give it another configuration
    #[command(after_help = "Examples:\n  \
        strata connect create numbers --config connector.class=generator --config topic=numbers --config records=1000\n  \
        strata connect create hook --config connector.class=http-sink --config topics=numbers \\\n      \
        --config http.url=http://127.0.0.1:8000/in --config strata.http.allow=127.0.0.1:8000")]
    Create(Create),
    /// List connectors and how they are
    List(List),
    /// Remove a connector
    Delete(Delete),
}

#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Where the REST API listens.
    #[arg(long, default_value = "127.0.0.1:8083", value_name = "HOST:PORT")]
    rest_listener: SocketAddr,
    /// Folders with plugins beyond those that are shipped; may be given several times.
    #[arg(long = "plugin-path", value_name = "DIR")]
    plugin_path: Vec<PathBuf>,
    /// Where compiled plugins are kept between starts.
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

/// Where the worker's REST API is.
#[derive(Debug, Clone, Args)]
struct Rest {
    #[arg(long = "rest", default_value = "http://127.0.0.1:8083", value_name = "URL")]
    url: String,
}

#[derive(Debug, Args)]
pub struct Create {
    name: String,
    /// One of the connector's settings; may be given several times.
    #[arg(long = "config", required = true, value_name = "KEY=VALUE", value_parser = super::config::key_value)]
    configs: Vec<(String, String)>,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    rest: Rest,
}

#[derive(Debug, Args)]
pub struct Delete {
    name: String,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Debug, Deserialize)]
struct StatusAnswer {
    name: String,
    connector: StateAnswer,
    tasks: Vec<StateAnswer>,
}

#[derive(Debug, Deserialize)]
struct StateAnswer {
    state: String,
    trace: Option<String>,
}

#[derive(Debug, Serialize)]
struct Listed {
    connector: String,
    state: String,
    tasks: Vec<String>,
    reason: String,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] = &["connector", "state", "tasks", "reason"];
    fn cells(&self) -> Vec<String> {
        vec![self.connector.clone(), self.state.clone(), self.tasks.join(","), self.reason.clone()]
    }
}

impl Connect {
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Worker(worker) => worker.run().await,
            Self::Create(create) => create.run(output).await,
            Self::List(list) => list.run(output).await,
            Self::Delete(delete) => {
                delete.rest.send(reqwest::Method::DELETE, &["connectors", &delete.name], None).await?;
                let document = serde_json::json!({ "deleted": delete.name });
                output.done(&format!("deleted {}", delete.name), &document)
            }
        }
    }
}

impl WorkerArgs {
    async fn run(self) -> anyhow::Result<()> {
        let mut stop = Stop::new()?;
        self.bootstrap.secure()?;
        let worker = Worker::start(WorkerConfig {
            worker_id: self.rest_listener.to_string(),
            shipped: shipped::PLUGINS.iter().map(|plugin| plugin.wasm).collect(),
            plugin_dirs: self.plugin_path,
            cache_dir: self.cache_dir,
            ..WorkerConfig::new(self.bootstrap.bootstrap_server)
        })
        .await?;
        let rest = strata_rest::serve(worker.clone(), self.rest_listener).await?;
        super::say(&format!("ready: REST API on http://{}", rest.addr()))?;
        stop.asked().await;
        rest.shutdown().await;
        worker.shutdown().await;
        Ok(())
    }
}

impl Create {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let config: Value =
            self.configs.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
        let path = ["connectors", self.name.as_str(), "config"];
        let created = self.rest.send(reqwest::Method::PUT, &path, Some(config)).await?;
        output.done(&format!("{} is set; `strata connect list` shows how it is", self.name), &created)
    }
}

impl List {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        let names: Vec<String> =
            serde_json::from_value(self.rest.send(reqwest::Method::GET, &["connectors"], None).await?)?;
        let mut rows = Vec::new();
        for name in names {
            let path = ["connectors", name.as_str(), "status"];
            let status: StatusAnswer =
                serde_json::from_value(self.rest.send(reqwest::Method::GET, &path, None).await?)?;
            let trace = |state: &StateAnswer| state.trace.clone();
            let reason = trace(&status.connector).or_else(|| status.tasks.iter().find_map(trace));
            rows.push(Listed {
                connector: status.name,
                state: status.connector.state,
                tasks: status.tasks.into_iter().map(|task| task.state).collect(),
                reason: reason.unwrap_or_default(),
            });
        }
        rows.sort_by(|a, b| a.connector.cmp(&b.connector));
        output.rows(&rows)
    }
}

impl Rest {
    /// Sends a request; what the worker refuses becomes an error with its own words.
    async fn send(
        &self,
        method: reqwest::Method,
        path: &[&str],
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut url = url::Url::parse(&self.url).with_context(|| self.url.clone())?;
        url.path_segments_mut().map_err(|()| anyhow::anyhow!("{} has no path", self.url))?.extend(path);
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.with_context(|| format!("no worker answers at {}", self.url))?;
        let status = answer.status();
        let text = answer.text().await?;
        let document: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        anyhow::ensure!(
            status.is_success(),
            "the worker refuses: {}",
            document["message"].as_str().unwrap_or(text.trim())
        );
        Ok(document)
    }
}
