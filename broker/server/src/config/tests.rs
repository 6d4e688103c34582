use super::*;

fn load(properties: &str) -> Result<Config, ConfigError> {
    Config::load(properties, NO_VARIABLES, NO_OVERRIDES)
}

const NO_VARIABLES: [(&str, &str); 0] = [];
const NO_OVERRIDES: [&str; 0] = [];

#[test]
fn nothing_said_is_one_node_on_this_machine() {
    let config = load("").unwrap();
    assert_eq!(config.node_id, 1);
    assert_eq!(config.listeners[0].advertised.to_string(), "PLAINTEXT://localhost:9092");
    assert_eq!(config.settings.offsets_topic_num_partitions, 50);
    assert_eq!(config.settings.request_bytes_max, 104_857_600);
    assert_eq!(config.settings.connections_max_idle, Duration::from_secs(600));
    assert!(config.settings.auto_create_topics_enable);
    assert_eq!(config.effective("num.partitions"), Some("1"));
}

#[test]
fn the_official_images_variables_start_a_node() {
    let variables = [
        ("KAFKA_NODE_ID", "7"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_LISTENERS", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"),
        ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:9092"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "7@localhost:9093"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
        ("CLUSTER_ID", "5L6g3nShT-eMCtK--X86sw"),
        ("PATH", "/bin"),
    ];
    let config = Config::load("", variables, NO_OVERRIDES).unwrap();
    assert_eq!((config.node_id, config.cluster_id.as_deref()), (7, Some("5L6g3nShT-eMCtK--X86sw")));
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn later_sources_win() {
    let file = "num.partitions=2\nnode.id=3\nlog.dirs=/a";
    let config =
        Config::load(file, [("KAFKA_NUM_PARTITIONS", "4")], ["num.partitions=8", "log.dirs=/b"]).unwrap();
    assert_eq!((config.settings.num_partitions, config.node_id), (8, 3));
    assert_eq!(config.data_dir, PathBuf::from("/b"));
}

#[test]
fn what_cannot_be_meant_is_refused_by_key_value_and_what_is_allowed() {
    for (properties, line) in [
        ("num.partitions=0", "num.partitions=0: allowed is 1 or more"),
        ("num.partitions=x", "num.partitions=x: allowed is a whole number of 32 bits"),
        ("delete.topic.enable=yes", "delete.topic.enable=yes: allowed is true or false"),
        ("node.id=-1", "node.id=-1: allowed is 0 or more"),
        ("strata.durability=maybe", "strata.durability=maybe: allowed is disk, os"),
        ("process.roles=broker", "process.roles=broker: a node that is only one"),
        ("process.roles=witness", "process.roles=witness: allowed is broker, controller"),
        ("node.id=1\ncontroller.quorum.voters=1@a:1,2@b:1", "only one voter"),
        ("node.id=1\ncontroller.quorum.voters=2@b:1", "the voter must be this node, whose node.id is 1"),
        ("controller.quorum.voters=b:1", "allowed is ID@HOST:PORT"),
        ("log.dirs=/a,/a", "named twice"),
        ("authorizer.class.name=com.example.Mine", "Java classes"),
        ("zookeeper.connect=zk:2181", "no ZooKeeper"),
        ("listeners=SASL_PLAINTEXT://:9092", "allowed are PLAIN, SCRAM-SHA-256"),
        ("listeners=SASL_PLAINTEXT://:9092\nsasl.enabled.mechanisms=PLAIN", "PLAIN needs its users"),
        ("listeners=SASL_PLAINTEXT://:9092\nsasl.enabled.mechanisms=OAUTHBEARER", "needs the keys"),
        ("security.inter.broker.protocol=TLS", "allowed is PLAINTEXT, SSL"),
        ("inter.broker.listener.name=OTHER", "not one of the listeners"),
        ("cluster.id=../x", "allowed are at most 64"),
    ] {
        let error = load(properties).unwrap_err().to_string();
        assert!(error.contains(line) && !error.contains('\n'), "{properties}: {error}");
    }
    let error = Config::load("", NO_VARIABLES, ["nonsense"]).unwrap_err().to_string();
    assert!(error.contains("key=value"), "{error}");
}

#[test]
fn unknown_settings_are_worth_a_warning() {
    let config = load("no.such.setting=1").unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].contains("no.such.setting"));
}

#[test]
fn retention_may_be_said_in_hours_and_minutes() {
    for (properties, ms) in [
        ("log.retention.hours=1", "3600000"),
        ("log.retention.hours=1\nlog.retention.minutes=2", "120000"),
        ("log.retention.hours=1\nlog.retention.ms=3", "3"),
        ("log.retention.hours=-1", "-1"),
    ] {
        let config = load(properties).unwrap();
        let pairs = [("retention.ms", "log.retention.ms"), ("segment.bytes", "log.segment.bytes")];
        let found: Vec<_> = config.topic_defaults(pairs, &|_| None).collect();
        assert_eq!(found, [("retention.ms", ms.to_owned())], "{properties}");
    }
}

#[test]
fn a_dynamic_change_goes_before_the_file() {
    let config = load("log.retention.hours=1").unwrap();
    let dynamic = |name: &str| (name == "log.retention.ms").then(|| "5".to_owned());
    let found: Vec<_> = config.topic_defaults([("retention.ms", "log.retention.ms")], &dynamic).collect();
    assert_eq!(found, [("retention.ms", "5".to_owned())]);
}

#[test]
fn every_setting_that_the_code_reads_has_a_default() {
    // A name that is not in the table would read as zero; those for which zero is no value show that none is.
    let settings = load("").unwrap().settings;
    let numbers = [
        settings.controller_quota_window.samples,
        settings.controller_quota_window.length_ms as usize,
        settings.default_replication_factor as usize,
        settings.fetch_bytes_max,
        settings.fetch_session_slots_max,
        settings.group_initial_rebalance_delay_ms as usize,
        settings.group_max_session_timeout_ms as usize,
        settings.group_max_size as usize,
        settings.group_min_session_timeout_ms as usize,
        settings.listen_backlog as usize,
        settings.message_bytes_max,
        settings.num_partitions as usize,
        settings.offset_metadata_bytes_max,
        settings.offsets_commit_timeout_ms as usize,
        settings.offsets_retention_check_interval_ms as usize,
        settings.offsets_retention_ms as usize,
        settings.offsets_topic_replication_factor as usize,
        settings.offsets_topic_segment_bytes as usize,
        settings.open_files_max,
        settings.quota_window.samples,
        settings.quota_window.length_ms as usize,
        settings.request_partitions_max,
        settings.requests_in_flight_max,
    ];
    assert!(numbers.iter().all(|&number| number > 0), "{settings:?}");
    for interval in [
        settings.flush_offset_checkpoint_interval,
        settings.high_watermark_checkpoint_interval,
        settings.remote_list_offsets_timeout,
        settings.retention_check_interval,
    ] {
        assert!(interval > Duration::ZERO && interval < Duration::MAX, "{settings:?}");
    }
    assert!(settings.delete_topic_enable);
}
