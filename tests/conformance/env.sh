# Sourced by the scripts beside it: where Apache Kafka and the clients are, and how a Kafka tool is run.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
HERE=$TESTS/conformance
KAFKA_VERSION=4.3.1
HOME_DIR=$CACHE/conformance
KAFKA=$HOME_DIR/kafka-$KAFKA_VERSION
PYTHON=$HOME_DIR/python/bin/python
TOOL_JVM=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true -Dlog4j2.disable.jmx=true
  -Dlog4j2.configurationFile="$HERE/log4j2.properties")

kafka_classpath() { # in a fixed order, as the class archive needs
  local jars=("$KAFKA"/libs/*.jar) IFS=:
  [ -e "${jars[0]}" ] || die "Apache Kafka is not installed: run tests/conformance/install"
  echo "${jars[*]}"
}

# tool_class NAME: the main class of one of Kafka's own scripts.
tool_class() {
  case $1 in
    kafka-topics) echo org.apache.kafka.tools.TopicCommand ;;
    kafka-acls) echo org.apache.kafka.tools.AclCommand ;;
    kafka-configs) echo kafka.admin.ConfigCommand ;;
    kafka-consumer-groups) echo org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
    kafka-console-consumer) echo org.apache.kafka.tools.consumer.ConsoleConsumer ;;
    kafka-console-producer) echo org.apache.kafka.tools.ConsoleProducer ;;
    kafka-dump-log) echo org.apache.kafka.tools.DumpLogSegments ;;
    kafka-get-offsets) echo org.apache.kafka.tools.GetOffsetShell ;;
    kafka-broker-api-versions) echo org.apache.kafka.tools.BrokerApiVersionsCommand ;;
    kafka-client-metrics) echo org.apache.kafka.tools.ClientMetricsCommand ;;
    kafka-cluster) echo org.apache.kafka.tools.ClusterTool ;;
    kafka-features) echo org.apache.kafka.tools.FeatureCommand ;;
    kafka-leader-election) echo org.apache.kafka.tools.LeaderElectionCommand ;;
    kafka-log-dirs) echo org.apache.kafka.tools.LogDirsCommand ;;
    kafka-metadata-quorum) echo org.apache.kafka.tools.MetadataQuorumCommand ;;
    kafka-reassign-partitions) echo org.apache.kafka.tools.reassign.ReassignPartitionsCommand ;;
    kafka-groups) echo org.apache.kafka.tools.GroupsCommand ;;
    kafka-streams-application-reset) echo org.apache.kafka.tools.StreamsResetter ;;
    kafka-streams-groups) echo org.apache.kafka.tools.streams.StreamsGroupCommand ;;
    kafka-storage) echo kafka.tools.StorageTool ;;
    *) die "no such tool: $1" ;;
  esac
}

# tool NAME ARGS...: one of Kafka's console tools. With TOOL=exec in a background job, $! is the tool itself.
tool() {
  local class; class=$(tool_class "$1"); shift
  ${TOOL:-} java -Xmx256M "${TOOL_JVM[@]}" -Xshare:auto -XX:SharedArchiveFile="$KAFKA/tools.jsa" -Xlog:disable \
    -cp "$(kafka_classpath)" "$class" "$@"
}

# strata_bin: the binary under test.
strata_bin() {
  local bin=${STRATA_BIN:-}
  if [ -z "$bin" ]; then
    local target=${CARGO_TARGET_DIR:-$TESTS/../target}
    bin=$target/debug/strata
    [ -x "$bin" ] || bin=$target/release/strata
  fi
  [ -x "$bin" ] || die "no strata binary: run cargo build, or set STRATA_BIN"
  echo "$bin"
}
