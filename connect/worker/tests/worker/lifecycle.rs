use strata_worker::{TargetState, WorkerError};

use super::*;

/// The last status that the topic has for a key.
fn written(cluster: &Memory, key: &str) -> Option<serde_json::Value> {
    let records = cluster.records("connect-status").into_iter().flatten();
    let last = records.filter(|record| record.key.as_deref() == Some(key.as_bytes())).last()?;
    last.value.map(|value| serde_json::from_slice(&value).expect("JSON"))
}

#[tokio::test]
async fn a_paused_connector_stays_paused_over_a_restart_and_goes_on_when_resumed() {
    let cluster = Memory::new();
    let first = worker(&cluster).await;
    first.create("numbers", generator("t", 5), TargetState::Paused).await.unwrap();
    assert_eq!(first.status("numbers").await.unwrap().tasks[0].1.state, State::Paused);
    first.shutdown().await;
    let second = worker(&cluster).await;
    assert_eq!(second.status("numbers").await.unwrap().connector.state, State::Paused);
    assert!(cluster.records("t").is_empty());
    second.set_target("numbers", TargetState::Started).await.unwrap();
    holds(&cluster, "t", 5).await;
    second.set_target("numbers", TargetState::Stopped).await.unwrap();
    let status = second.status("numbers").await.unwrap();
    assert_eq!((status.connector.state, status.tasks.len()), (State::Stopped, 0));
    second.shutdown().await;
}

#[tokio::test]
async fn statuses_are_in_the_topic_as_kafka_connect_writes_them() {
    let cluster = Memory::new();
    let worker = worker(&cluster).await;
    worker.create("numbers", generator("t", 1), Default::default()).await.unwrap();
    task_is(&cluster, &worker, "numbers", 0, State::Running).await;
    cluster.until(|cluster| written(cluster, "status-task-numbers-0").is_some()).await;
    let expected = serde_json::json!({
        "state": "RUNNING", "trace": null, "worker_id": "127.0.0.1:8083", "generation": 1, "version": "0.1.0",
    });
    assert_eq!(written(&cluster, "status-task-numbers-0").unwrap(), expected);
    worker.shutdown().await;
    assert_eq!(written(&cluster, "status-connector-numbers").unwrap()["state"], "UNASSIGNED");
}

#[tokio::test]
async fn a_deleted_connector_is_gone_for_good() {
    let cluster = Memory::new();
    let first = worker(&cluster).await;
    first.create("numbers", generator("t", 1), Default::default()).await.unwrap();
    first.delete("numbers").await.unwrap();
    assert!(matches!(first.delete("numbers").await, Err(WorkerError::NotFound(_))));
    assert!(matches!(first.status("numbers").await, Err(WorkerError::NotFound(_))));
    first.shutdown().await;
    assert!(worker(&cluster).await.connectors().await.is_empty());
}

#[tokio::test]
async fn a_connector_that_exists_is_not_made_again_but_takes_a_new_config() {
    let cluster = Memory::new();
    let worker = worker(&cluster).await;
    worker.create("numbers", generator("t", 3), Default::default()).await.unwrap();
    let again = worker.create("numbers", generator("t", 3), Default::default()).await;
    assert_eq!(again.unwrap_err(), WorkerError::Conflict("Connector numbers already exists".into()));
    // Else the new config may come before the first record.
    holds(&cluster, "t", 3).await;
    let changes = [("records".to_owned(), Some("4".to_owned())), ("topic".to_owned(), Some("u".to_owned()))];
    let info = worker.patch_config("numbers", changes.into()).await.unwrap();
    assert_eq!(info.config["records"], "4");
    holds(&cluster, "u", 1).await;
    worker.shutdown().await;
}
