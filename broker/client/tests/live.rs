//! The client against a real cluster, of Apache Kafka or our own. Run it with
//! `STRATA_TEST_BOOTSTRAP=host:port cargo test -p strata-client --test live -- --ignored`.

use strata_client::{Client, ClientOptions, ConfigResource, NewTopic, OffsetSpec};
use strata_types::{ErrorCode, Offset, TopicName, TopicPartition};

async fn connect() -> Client {
    let bootstrap = std::env::var("STRATA_TEST_BOOTSTRAP").expect("STRATA_TEST_BOOTSTRAP=host:port");
    Client::connect(&bootstrap, ClientOptions::default()).await.expect("a cluster")
}

/// A topic with a name of its own.
async fn topic(client: &Client, partitions: i32) -> TopicName {
    let name = TopicName::new(&format!("live-{}", uuid::Uuid::new_v4())).unwrap();
    client.admin().create_topic(NewTopic::new(name.clone(), partitions)).await.expect("a topic");
    name
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn topics_are_created_grown_configured_and_deleted() {
    let client = connect().await;
    let admin = client.admin();
    let name = topic(&client, 2).await;
    let again = admin.create_topic(NewTopic::new(name.clone(), 1)).await.unwrap_err();
    assert!(again.is(ErrorCode::TopicAlreadyExists), "{again}");
    assert_eq!(client.partitions(&name).await.unwrap(), [0, 1]);

    admin.create_partitions(&name, 3).await.unwrap();
    let mut grown = admin.describe_topic(&name).await.unwrap();
    while grown.partitions.len() < 3 {
        grown = admin.describe_topic(&name).await.unwrap();
    }
    assert!(admin.list_topics().await.unwrap().iter().any(|topic| topic.name == name));

    let resource = ConfigResource::Topic(name.clone());
    admin.alter_configs(&resource, &[("retention.ms", Some("12345"))]).await.unwrap();
    let configs = admin.describe_configs(&resource).await.unwrap();
    let retention = configs.iter().find(|config| config.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_deref(), retention.is_default), (Some("12345"), false));
    admin.alter_configs(&resource, &[("retention.ms", None)]).await.unwrap();
    let wrong = admin.alter_configs(&resource, &[("retention.ms", Some("soon"))]).await.unwrap_err();
    assert!(wrong.is(ErrorCode::InvalidConfig), "{wrong}");

    admin.delete_topic(&name).await.unwrap();
    let gone = admin.delete_topic(&name).await.unwrap_err();
    assert!(gone.is(ErrorCode::UnknownTopicOrPartition), "{gone}");
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn the_cluster_is_described_and_an_empty_log_starts_and_ends_at_zero() {
    let client = connect().await;
    let cluster = client.admin().describe_cluster().await.unwrap();
    assert!(!cluster.brokers.is_empty());
    let partition = TopicPartition::new(topic(&client, 1).await, 0);
    for spec in [OffsetSpec::Earliest, OffsetSpec::Latest] {
        let found = client.list_offsets(&[(partition.clone(), spec)], false).await.unwrap();
        assert_eq!(found[&partition].offset, Offset(0));
    }
    let none = client.list_offsets(&[(partition.clone(), OffsetSpec::Timestamp(0))], false).await.unwrap();
    assert_eq!(none[&partition].offset, Offset(-1));
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn offsets_of_a_group_without_members_are_set_read_and_deleted() {
    let client = connect().await;
    let admin = client.admin();
    let partition = TopicPartition::new(topic(&client, 1).await, 0);
    let group = format!("live-{}", uuid::Uuid::new_v4());
    admin.alter_group_offsets(&group, &[(partition.clone(), Offset(7))].into()).await.unwrap();
    assert_eq!(admin.group_offsets(&group).await.unwrap()[&partition], Offset(7));
    assert!(admin.list_groups().await.unwrap().iter().any(|listed| listed.group_id == group));
    assert_eq!(admin.describe_group(&group).await.unwrap().state, "Empty");
    admin.delete_group_offsets(&group, &partition.topic, &[0]).await.unwrap();
    assert!(admin.group_offsets(&group).await.unwrap().is_empty());
}
