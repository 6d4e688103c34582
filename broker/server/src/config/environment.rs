//! Settings from the environment, as the official Docker image of Apache Kafka takes them.
//!
//! `KAFKA_LOG_RETENTION_MS` is `log.retention.ms`: the prefix goes, letters become small, `_` becomes `.`, `__` becomes
//! `_` and `___` becomes `-`. Our own settings go the same way: `KAFKA_STRATA_DURABILITY` is `strata.durability`.
//! Variables that begin with `STRATA_` are the command line's.

/// What the image's start script and the JVM read; none of it is a setting of the broker.
const NOT_SETTINGS: &[&str] = &[
    "KAFKA_VERSION",
    "KAFKA_HOME",
    "KAFKA_HEAP_OPTS",
    "KAFKA_LOG4J_OPTS",
    JAVA_OPTIONS,
    "KAFKA_JMX_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_PORT",
    // Our command line's own, and that of its tests.
    "STRATA_BIN",
    "STRATA_BOOTSTRAP_SERVER",
    "STRATA_LOG",
];

/// Java's options, of which one names a file that counts.
pub(super) const JAVA_OPTIONS: &str = "KAFKA_OPTS";

/// The image's name for the cluster's id, which is no setting of the broker but of `kafka-storage format`.
pub(super) const CLUSTER_ID: &str = "CLUSTER_ID";

/// The setting that this variable names, if it names one.
pub(super) fn setting(variable: &str) -> Option<String> {
    if NOT_SETTINGS.contains(&variable) {
        return None;
    }
    let name = variable.strip_prefix("KAFKA_")?;
    Some(name.to_ascii_lowercase().replace('_', ".").replace("...", "-").replace("..", "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_map_as_the_official_image_maps_them() {
        for (variable, name) in [
            ("KAFKA_NODE_ID", Some("node.id")),
            ("KAFKA_CONTROLLER_QUORUM_VOTERS", Some("controller.quorum.voters")),
            ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", Some("offsets.topic.replication.factor")),
            ("KAFKA_A__B", Some("a_b")),
            ("KAFKA_A___B", Some("a-b")),
            ("STRATA_LOG", None),
            ("KAFKA_STRATA_DURABILITY", Some("strata.durability")),
            ("KAFKA_HEAP_OPTS", None),
            ("PATH", None),
        ] {
            assert_eq!(setting(variable).as_deref(), name, "{variable}");
        }
    }
}
