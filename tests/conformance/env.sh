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
    kafka-delegation-tokens) echo org.apache.kafka.tools.DelegationTokenCommand ;;
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
    kafka-share-groups) echo org.apache.kafka.tools.consumer.group.ShareGroupCommand ;;
    kafka-transactions) echo org.apache.kafka.tools.TransactionsCommand ;;
    kafka-delete-records) echo org.apache.kafka.tools.DeleteRecordsCommand ;;
    kafka-console-share-consumer) echo org.apache.kafka.tools.consumer.ConsoleShareConsumer ;;
    kafka-verifiable-producer) echo org.apache.kafka.tools.VerifiableProducer ;;
    kafka-verifiable-consumer) echo org.apache.kafka.tools.VerifiableConsumer ;;
    kafka-verifiable-share-consumer) echo org.apache.kafka.tools.VerifiableShareConsumer ;;
    kafka-producer-perf-test) echo org.apache.kafka.tools.ProducerPerformance ;;
    kafka-consumer-perf-test) echo org.apache.kafka.tools.ConsumerPerformance ;;
    kafka-share-consumer-perf-test) echo org.apache.kafka.tools.ShareConsumerPerformance ;;
    kafka-e2e-latency) echo org.apache.kafka.tools.EndToEndLatency ;;
    kafka-replica-verification) echo org.apache.kafka.tools.ReplicaVerificationTool ;;
    kafka-storage) echo kafka.tools.StorageTool ;;
    undecided) echo Undecided ;; # ours, in clients/java
    *) die "no such tool: $1" ;;
  esac
}

# tool NAME ARGS...: one of Kafka's console tools. With TOOL=exec in a background job, $! is the tool itself.
tool() {
  local class; class=$(tool_class "$1"); shift
  ${TOOL:-} java -Xmx256M "${TOOL_JVM[@]}" -Xshare:auto -XX:SharedArchiveFile="$KAFKA/tools.jsa" -Xlog:disable \
    -cp "$(kafka_classpath)" "$class" "$@"
}

# start_tools: from now on `quick_tool` runs Kafka's console tools in one Java process, which ends with the script.
start_tools() {
  coproc TOOLS { exec java -Xmx256M "${TOOL_JVM[@]}" -cp "$HOME_DIR/java:$(kafka_classpath)" Tools; }
  # Bash keeps a coprocess's own descriptors from subshells, and so from pipelines.
  exec {TOOLS_ASK}>&"${TOOLS[1]}" {TOOLS_TELL}<&"${TOOLS[0]}"
}

# quick_tool OUT NAME ARGS...: one of Kafka's console tools; what it prints goes to the file OUT, its input is the file
# $INPUT. Its status is the tool's.
quick_tool() {
  local out=$1 class status IFS=$'\x1f'; class=$(tool_class "$2"); shift 2
  local call=("$out" "${INPUT:-/dev/null}" "$class" "$@")
  echo "${call[*]}" >&"$TOOLS_ASK"
  read -r status <&"$TOOLS_TELL" || die "the process of the tools is gone"
  return "$status"
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
