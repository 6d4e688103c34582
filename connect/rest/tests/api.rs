//! The API over HTTP, with a worker on a cluster in memory. What is expected here is what Apache Kafka Connect 4.3.1 answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use strata_rest::Rest;
use strata_worker::memory::Memory;
use strata_worker::{Worker, WorkerConfig};

struct Api {
    rest: Rest,
    cluster: Memory,
}

impl Api {
    async fn start() -> Self {
        let cluster = Memory::new();
        let mut config = WorkerConfig::new("nowhere:0");
        config.plugin_dirs = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/catalog").into()];
        config.cache_dir = Some(concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins").into());
        config.instances_max = 8;
        let worker = Worker::start_on(Arc::new(cluster.clone()), config).await.expect("a worker");
        let rest = strata_rest::serve(worker, ([127, 0, 0, 1], 0).into()).await.expect("a port");
        Api { rest, cluster }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let stream = tokio::net::TcpStream::connect(self.rest.addr()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder().method(method).uri(path).header("host", "x");
        let answer = sender.send_request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") })
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, Value::Null).await
    }

    /// Asks until the answer is what is wanted.
    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let asking = async {
            loop {
                let mut changes = self.cluster.changes();
                let (_, answer) = self.get(path).await;
                if wanted(&answer) {
                    return answer;
                }
                changes.changed().await.expect("a cluster");
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asking).await.expect("in time")
    }
}

fn generator(records: u32) -> Value {
    json!({ "connector.class": "generator", "topic": "t", "records": records, "tasks.max": "1" })
}

#[tokio::test]
async fn a_connector_is_made_shown_and_deleted() {
    let api = Api::start().await;
    assert_eq!(api.get("/connectors").await, (200, json!([])));
    let (code, made) =
        api.call("POST", "/connectors", json!({ "name": "src", "config": generator(3) })).await;
    let config = json!({
        "name": "src", "connector.class": "generator", "topic": "t", "records": "3", "tasks.max": "1",
    });
    assert_eq!(
        (code, &made["name"], &made["config"], &made["type"]),
        (201, &json!("src"), &config, &json!("source"))
    );
    let again = api.call("POST", "/connectors", json!({ "name": "src", "config": generator(3) })).await;
    assert_eq!(again, (409, json!({ "error_code": 409, "message": "Connector src already exists" })));

    let shown = json!({ "name": "src", "config": config, "tasks": [{ "connector": "src", "task": 0 }], "type": "source" });
    assert_eq!(api.get("/connectors/src").await, (200, shown));
    assert_eq!(api.get("/connectors/src/config").await, (200, config));
    let running = json!({ "state": "RUNNING", "worker_id": "127.0.0.1:8083", "version": "0.1.0" });
    let task = json!({ "id": 0, "state": "RUNNING", "worker_id": "127.0.0.1:8083", "version": "0.1.0" });
    let status = json!({ "name": "src", "connector": running, "tasks": [task], "type": "source" });
    assert_eq!(
        api.until("/connectors/src/status", |status| status["tasks"][0]["state"] == "RUNNING").await,
        status
    );
    assert_eq!(api.get("/connectors/src/tasks/0/status").await, (200, task));
    let (_, tasks) = api.get("/connectors/src/tasks").await;
    assert_eq!(tasks[0]["id"], json!({ "connector": "src", "task": 0 }));
    let expanded = api.get("/connectors?expand=status&expand=info").await.1;
    assert_eq!((&expanded["src"]["status"], &expanded["src"]["info"]["name"]), (&status, &json!("src")));
    let offsets = json!({ "offsets": [{ "partition": { "task": 0, "tasks": 1 }, "offset": { "next": 3 } }] });
    assert_eq!(
        api.until("/connectors/src/offsets", |offsets| offsets["offsets"][0].is_object()).await,
        offsets
    );

    assert_eq!(api.call("DELETE", "/connectors/src", Value::Null).await, (204, Value::Null));
    let gone = json!({ "error_code": 404, "message": "Connector src not found" });
    assert_eq!(api.get("/connectors/src").await, (404, gone));
    api.rest.shutdown().await;
}

#[tokio::test]
async fn a_connector_is_paused_resumed_stopped_and_restarted() {
    let api = Api::start().await;
    let (code, _) = api.call("PUT", "/connectors/src/config", generator(3)).await;
    assert_eq!(code, 201);
    for (method, verb, code, state) in
        [("PUT", "pause", 202, "PAUSED"), ("PUT", "resume", 202, "RUNNING"), ("PUT", "stop", 204, "STOPPED")]
    {
        assert_eq!(api.call(method, &format!("/connectors/src/{verb}"), Value::Null).await.0, code, "{verb}");
        api.until("/connectors/src/status", |status| status["connector"]["state"] == state).await;
    }
    api.call("PUT", "/connectors/src/resume", Value::Null).await;
    assert_eq!(api.call("POST", "/connectors/src/restart", Value::Null).await, (204, Value::Null));
    let (code, answer) =
        api.call("POST", "/connectors/src/restart?includeTasks=true&onlyFailed=false", Value::Null).await;
    assert_eq!(
        (code, &answer["connector"]["state"], &answer["tasks"][0]["state"]),
        (202, &json!("RESTARTING"), &json!("RESTARTING"))
    );
    assert_eq!(api.call("POST", "/connectors/src/tasks/0/restart", Value::Null).await.0, 204);
    let unknown = json!({ "error_code": 404, "message": "Unknown task: src-7" });
    assert_eq!(api.call("POST", "/connectors/src/tasks/7/restart", Value::Null).await, (404, unknown));
    api.rest.shutdown().await;
}

#[tokio::test]
async fn configs_are_changed_and_validated() {
    let api = Api::start().await;
    assert_eq!(api.call("PUT", "/connectors/src/config", generator(3)).await.0, 201);
    let (code, info) = api.call("PUT", "/connectors/src/config", generator(4)).await;
    assert_eq!((code, &info["config"]["records"]), (200, &json!("4")));
    let (code, info) =
        api.call("PATCH", "/connectors/src/config", json!({ "records": "5", "tasks.max": null })).await;
    assert_eq!(
        (code, &info["config"]["records"], &info["config"]["tasks.max"]),
        (200, &json!("5"), &Value::Null)
    );

    let wrong_name = json!({ "connector.class": "generator", "topic": "t", "name": "other" });
    let message = "Connector name configuration (other) doesn't match connector name in the URL (src)";
    let answer = api.call("PUT", "/connectors/src/config", wrong_name).await;
    assert_eq!(answer, (400, json!({ "error_code": 400, "message": message })));

    let broken = json!({ "connector.class": "http-sink", "tasks.max": "x" });
    let (code, answer) = api.call("PUT", "/connector-plugins/http-sink/config/validate", broken).await;
    assert_eq!((code, &answer["name"], &answer["error_count"]), (200, &json!("http-sink"), &json!(4)));
    let configs = answer["configs"].as_array().unwrap();
    let tasks_max = configs.iter().find(|key| key["definition"]["name"] == "tasks.max").unwrap();
    assert_eq!(tasks_max["definition"]["type"], "INT");
    let errors = json!(["Invalid value x for configuration tasks.max: Not a number of type INT"]);
    assert_eq!(tasks_max["value"]["errors"], errors);
    let (code, keys) = api.get("/connector-plugins/http-sink/config").await;
    assert!(code == 200 && keys.as_array().unwrap().iter().any(|key| key["name"] == "http.url"));
    api.rest.shutdown().await;
}

#[tokio::test]
async fn plugins_are_listed_and_unknown_things_are_not_found() {
    let api = Api::start().await;
    let plugins = json!([
        { "class": "generator", "type": "source", "version": "0.1.0" },
        { "class": "http-sink", "type": "sink", "version": "0.1.0" },
    ]);
    assert_eq!(api.get("/connector-plugins").await, (200, plugins));
    assert_eq!(api.get("/").await.1["kafka_cluster_id"], "memory");
    let error = |code: u16, message: &str| (code, json!({ "error_code": code, "message": message }));
    assert_eq!(api.get("/connectors/nope/status").await, error(404, "No status found for connector nope"));
    assert_eq!(
        api.call("PUT", "/connectors/nope/pause", Value::Null).await,
        error(404, "Unknown connector nope")
    );
    assert_eq!(api.get("/nopath").await, error(404, "HTTP 404 Not Found"));
    assert_eq!(
        api.call("DELETE", "/connectors", Value::Null).await,
        error(405, "HTTP 405 Method Not Allowed")
    );
    assert_eq!(api.call("POST", "/connectors", json!("text")).await.0, 400);
    assert_eq!(api.call("PUT", "/connectors/a/config", json!({ "connector.class": ["x"] })).await.0, 400);
    api.rest.shutdown().await;
}
