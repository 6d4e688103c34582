//! The paths, and what they do.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, response::Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use strata_worker::{Direction, Restart, TargetState, Worker};

use crate::error::ApiError;
use crate::views::{self, InfoView, PluginView, StatusView};

type Answer = Result<Response, ApiError>;

pub(crate) fn router(worker: Worker) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/health", get(health))
        .route("/connectors", get(list).post(create))
        .route("/connectors/{name}", get(info).delete(delete))
        .route("/connectors/{name}/config", get(config).put(put_config).patch(patch_config))
        .route("/connectors/{name}/status", get(status))
        .route("/connectors/{name}/tasks", get(tasks))
        .route("/connectors/{name}/tasks/{task}/status", get(task_status))
        .route("/connectors/{name}/tasks/{task}/restart", post(restart_task))
        .route("/connectors/{name}/tasks-config", get(tasks_config))
        .route("/connectors/{name}/offsets", get(offsets))
        .route("/connectors/{name}/restart", post(restart))
        .route("/connectors/{name}/pause", put(pause))
        .route("/connectors/{name}/resume", put(resume))
        .route("/connectors/{name}/stop", put(stop))
        .route("/connector-plugins", get(plugins))
        .route("/connector-plugins/{plugin}/config", get(plugin_config))
        .route("/connector-plugins/{plugin}/config/validate", put(validate))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "HTTP 404 Not Found"))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "HTTP 405 Method Not Allowed")
        })
        .with_state(worker)
}

async fn root(Shared(worker): Shared<Worker>) -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    Ok(Json(json!({ "version": version, "commit": "", "kafka_cluster_id": worker.cluster_id() }))
        .into_response())
}

async fn health() -> Answer {
    let message = "Worker has completed startup and is ready to handle requests.";
    Ok(Json(json!({ "status": "healthy", "message": message })).into_response())
}

async fn list(Shared(worker): Shared<Worker>, RawQuery(query): RawQuery) -> Answer {
    let names = worker.connectors().await;
    let query = Query::new(query);
    let (with_status, with_info) = (query.has("expand", "status"), query.has("expand", "info"));
    if !with_status && !with_info {
        return Ok(Json(names).into_response());
    }
    let mut expanded = BTreeMap::new();
    for name in names {
        let mut parts = serde_json::Map::new();
        // One that was deleted meanwhile is left out.
        if with_status && let Ok(status) = worker.status(&name).await {
            parts.insert("status".into(), to_value(StatusView::new(name.clone(), status))?);
        }
        if with_info && let Ok(info) = worker.info(&name).await {
            parts.insert("info".into(), to_value(InfoView::new(info))?);
        }
        if !parts.is_empty() {
            expanded.insert(name, parts);
        }
    }
    Ok(Json(expanded).into_response())
}

#[derive(Deserialize)]
struct CreateRequest {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    config: BTreeMap<String, Value>,
    #[serde(default)]
    initial_state: Option<TargetState>,
}

async fn create(Shared(worker): Shared<Worker>, body: Bytes) -> Answer {
    let request: CreateRequest = parse(&body)?;
    let config = properties(request.config)?;
    let name = request.name.or_else(|| config.get("name").cloned()).unwrap_or_default();
    let name = name.trim();
    let info = worker.create(name, config, request.initial_state.unwrap_or_default()).await?;
    Ok(created(info))
}

async fn info(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    Ok(Json(InfoView::new(worker.info(&name).await?)).into_response())
}

async fn delete(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    worker.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn config(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    Ok(Json(worker.info(&name).await?.config).into_response())
}

async fn put_config(Shared(worker): Shared<Worker>, Path(name): Path<String>, body: Bytes) -> Answer {
    let (new, info) = worker.put_config(&name, properties(parse(&body)?)?).await?;
    if new {
        return Ok(created(info));
    }
    Ok(Json(InfoView::new(info)).into_response())
}

async fn patch_config(Shared(worker): Shared<Worker>, Path(name): Path<String>, body: Bytes) -> Answer {
    let changes: BTreeMap<String, Value> = parse(&body)?;
    let changes = changes.into_iter().map(|(key, value)| Ok((key, text(value)?)));
    let info = worker.patch_config(&name, changes.collect::<Result<_, ApiError>>()?).await?;
    Ok(Json(InfoView::new(info)).into_response())
}

async fn status(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    let status = worker.status(&name).await?;
    Ok(Json(StatusView::new(name, status)).into_response())
}

async fn tasks(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    Ok(Json(views::tasks(worker.info(&name).await?)).into_response())
}

async fn tasks_config(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    let tasks = worker.info(&name).await?.tasks.into_iter().enumerate();
    let tasks: BTreeMap<_, _> = tasks.map(|(task, config)| (format!("{name}-{task}"), config)).collect();
    Ok(Json(tasks).into_response())
}

async fn task_status(Shared(worker): Shared<Worker>, Path((name, task)): Path<(String, u32)>) -> Answer {
    let status = StatusView::new(name.clone(), worker.status(&name).await?);
    let unknown = || ApiError::new(StatusCode::NOT_FOUND, format!("No status found for task {name}-{task}"));
    Ok(Json(status.into_task(task).ok_or_else(unknown)?).into_response())
}

async fn restart_task(Shared(worker): Shared<Worker>, Path((name, task)): Path<(String, u32)>) -> Answer {
    worker.restart_task(&name, task).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn restart(
    Shared(worker): Shared<Worker>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::new(query);
    let restart = Restart {
        include_tasks: query.has("includeTasks", "true"),
        only_failed: query.has("onlyFailed", "true"),
    };
    let before = worker.status(&name).await;
    worker.restart(&name, restart).await?;
    if !restart.include_tasks && !restart.only_failed {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let view = StatusView::new(name, before?).restarting(restart.only_failed, restart.include_tasks);
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

async fn pause(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    worker.set_target(&name, TargetState::Paused).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn resume(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    worker.set_target(&name, TargetState::Started).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

async fn stop(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    worker.set_target(&name, TargetState::Stopped).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn offsets(Shared(worker): Shared<Worker>, Path(name): Path<String>) -> Answer {
    let offsets: Vec<_> = match worker.info(&name).await?.direction {
        Some(Direction::Sink) => {
            let committed = worker.sink_offsets(&name).await?;
            committed
                .iter()
                .map(|(topic, partition, offset)| views::sink_offset(topic, *partition, *offset))
                .collect()
        }
        _ => {
            let positions = worker.source_positions(&name).await?;
            positions.iter().map(|position| views::position(&position.partition, &position.offset)).collect()
        }
    };
    Ok(Json(json!({ "offsets": offsets })).into_response())
}

async fn plugins(Shared(worker): Shared<Worker>) -> Answer {
    let plugins = worker.plugins().await.into_iter();
    let views = plugins.map(|(plugin, direction)| PluginView::new(plugin.name, plugin.version, direction));
    Ok(Json(views.collect::<Vec<_>>()).into_response())
}

async fn plugin_config(Shared(worker): Shared<Worker>, Path(plugin): Path<String>) -> Answer {
    let keys = worker.plugin_config(&plugin).await?;
    let keys = keys.iter().enumerate().map(|(order, key)| views::definition(key, order + 1));
    Ok(Json(keys.collect::<Vec<_>>()).into_response())
}

async fn validate(Shared(worker): Shared<Worker>, Path(plugin): Path<String>, body: Bytes) -> Answer {
    let config = properties(parse(&body)?)?;
    if let Some(class) = config.get("connector.class").filter(|class| **class != plugin) {
        return Err(ApiError::bad_request(format!(
            "Included connector type {class} does not match request type {plugin}"
        )));
    }
    let keys = worker.validate(&config).await?;
    Ok(Json(views::validation(&plugin, &keys)).into_response())
}

fn created(info: strata_worker::ConnectorInfo) -> Response {
    let location = format!("/connectors/{}", info.name);
    let mut response = (StatusCode::CREATED, Json(InfoView::new(info))).into_response();
    if let Ok(location) = location.parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Whatever the content type says: the tools are not strict about it.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|why| ApiError::bad_request(format!("the body cannot be read: {why}")))
}

/// Numbers and booleans are taken as text; nulls as not there.
fn properties(config: BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, ApiError> {
    let pairs = config.into_iter().map(|(key, value)| Ok(text(value)?.map(|value| (key, value))));
    pairs.filter_map(Result::transpose).collect()
}

fn text(value: Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => Err(ApiError::bad_request("a config's values are text")),
    }
}

fn to_value(view: impl serde::Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(view)
        .map_err(|why| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, why.to_string()))
}

/// A query whose keys may repeat.
struct Query(String);

impl Query {
    fn new(query: Option<String>) -> Self {
        Query(query.unwrap_or_default())
    }

    fn has(&self, key: &str, value: &str) -> bool {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.any(|(found, is)| found == key && is.eq_ignore_ascii_case(value))
    }
}
