#!/usr/bin/env bash
# What an administrator runs: admin-tools.sh BOOTSTRAP. Kafka's own tools for settings, quotas, features, client metrics, the
# quorum, log directories, reassignments and elections; everything they print that does not depend on the machine.
# Left out, as Strata differs by design: voters that come and go (it has kraft.version 0, Kafka here 1), so --release-version too,
# and eligible leader replicas, a feature that it does not have; settings of dead-letter queues, which are Kafka 4.4's.
. "$(dirname "${BASH_SOURCE[0]}")/tools.sh"
topic=admin
# by_word: the words of each line in order, as a client's hash table gives an entity's settings in any.
by_word() { while read -ra words; do printf '%s\n' "${words[@]%,}" | sort | paste -sd ' '; done; }
configs() { say kafka-configs "$@"; }
# Which groups other clients have left behind is not this script's business.
of_group_g() { sorted "$@" | grep -Ev 'for group ([^g]|g[^ ])'; }

call kafka-topics --create --topic $topic --partitions 2 --replication-factor 1

title "quotas of clients and users"
configs --alter --entity-type users --entity-name alice --add-config producer_byte_rate=1048576,consumer_byte_rate=2097152.5
configs --alter --entity-type users --entity-name alice --add-config producer_byte_rate=1048576,consumer_byte_rate=2097152,request_percentage=12.5
configs --alter --entity-type users --entity-default --add-config request_percentage=50
configs --alter --entity-type clients --entity-name app --add-config producer_byte_rate=1000
configs --alter --entity-type clients --entity-default --add-config controller_mutation_rate=10
configs --alter --entity-type users --entity-name alice --entity-type clients --entity-name app --add-config consumer_byte_rate=500
configs --alter --entity-type users --entity-name bob --entity-type clients --entity-default --add-config consumer_byte_rate=501
configs --alter --entity-type users --entity-default --entity-type clients --entity-default --add-config consumer_byte_rate=502
configs --alter --entity-type ips --entity-name 127.0.0.9 --add-config connection_creation_rate=100
configs --alter --entity-type ips --entity-default --add-config connection_creation_rate=1000000
for entity in "--entity-type users" "--entity-type clients" "--entity-type users --entity-type clients" "--entity-type ips" \
  "--entity-type users --entity-name alice" "--entity-type users --entity-default" "--entity-type clients --entity-default" \
  "--entity-type users --entity-name alice --entity-type clients" "--entity-type users --entity-name nobody" \
  "--entity-type users --entity-name alice --entity-type clients --entity-name app" "--entity-type ips --entity-name 127.0.0.9"; do
  title "describe $entity"
  # shellcheck disable=SC2086
  sorted kafka-configs --describe $entity | by_word
done
title "quotas that cannot be"
configs --alter --entity-type users --entity-name alice --add-config producer_byte_rate=-1
configs --alter --entity-type users --entity-name alice --add-config producer_byte_rate=0
configs --alter --entity-type users --entity-name alice --add-config producer_byte_rate=0.5
configs --alter --entity-type users --entity-name alice --add-config no_such_rate=1
configs --alter --entity-type ips --entity-name 127.0.0.9 --add-config producer_byte_rate=1
configs --alter --entity-type users --entity-name alice --add-config connection_creation_rate=1
configs --alter --entity-type ips --entity-name not.an.address.invalid --add-config connection_creation_rate=1
title "quotas removed"
configs --alter --entity-type users --entity-name alice --delete-config producer_byte_rate,consumer_byte_rate,request_percentage
configs --alter --entity-type users --entity-name alice --delete-config producer_byte_rate
configs --alter --entity-type users --entity-default --delete-config request_percentage
configs --alter --entity-type users --entity-name alice --entity-type clients --entity-name app --delete-config consumer_byte_rate
configs --alter --entity-type users --entity-name bob --entity-type clients --entity-default --delete-config consumer_byte_rate
configs --alter --entity-type users --entity-default --entity-type clients --entity-default --delete-config consumer_byte_rate
configs --alter --entity-type clients --entity-name app --delete-config producer_byte_rate
configs --alter --entity-type clients --entity-default --delete-config controller_mutation_rate
configs --alter --entity-type ips --entity-name 127.0.0.9 --delete-config connection_creation_rate
configs --alter --entity-type ips --entity-default --delete-config connection_creation_rate
sorted kafka-configs --describe --entity-type users
sorted kafka-configs --describe --entity-type ips

title "settings of brokers"
broker="--entity-type brokers --entity-name 1"
# shellcheck disable=SC2086
{
  configs --alter $broker --add-config log.retention.ms=1000000,num.io.threads=9
  configs --alter --entity-type brokers --entity-default --add-config log.retention.ms=2000000,max.connections.per.ip=5000
  sorted kafka-configs --describe $broker
  sorted kafka-configs --describe --entity-type brokers --entity-default
  sorted kafka-configs --describe --entity-type brokers
  sorted kafka-configs --describe --entity-type topics --entity-name $topic --all | grep -E '^ ?retention.ms' || true
  title "settings that cannot be"
  configs --alter $broker --add-config node.id=2
  configs --alter $broker --add-config num.io.threads=-1
  configs --alter $broker --add-config no.such.setting=1
  configs --alter --entity-type brokers --entity-default --add-config listeners=PLAINTEXT://:1
  configs --alter --entity-type brokers --entity-name x --add-config num.io.threads=9
  configs --alter --entity-type brokers --entity-default --add-config max.connections.per.ip.overrides=127.0.0.1:x
  configs --alter $broker --delete-config log.cleaner.threads
  configs --describe $broker
  title "settings removed"
  configs --alter $broker --delete-config log.retention.ms,num.io.threads,no.such.setting
  configs --alter --entity-type brokers --entity-default --delete-config log.retention.ms,max.connections.per.ip,no.such.setting
  configs --describe $broker
  configs --describe --entity-type brokers --entity-default
}

title "levels of loggers"
loggers="--entity-type broker-loggers --entity-name 1"
# shellcheck disable=SC2086
{
  configs --alter $loggers --add-config kafka.no.such.Logger=DEBUG
  configs --alter $loggers --add-config root=NOISE
  configs --alter $loggers --add-config root=DEBUG
  configs --describe $loggers | grep -E '^ ?root=' || true
  configs --alter $loggers --add-config root=INFO
  configs --alter $loggers --delete-config root
}

title "client metrics"
say kafka-client-metrics --list
say kafka-client-metrics --alter --name basic --metrics org.apache.kafka.producer.,org.apache.kafka.consumer. --interval 60000
say kafka-client-metrics --alter --name java --interval 1000 --match client_software_name=apache-kafka-java,client_id=app.*
sorted kafka-client-metrics --list
say kafka-client-metrics --describe --name basic
sorted kafka-client-metrics --describe
sorted kafka-configs --describe --entity-type client-metrics
say kafka-client-metrics --alter --name basic --interval 5
say kafka-client-metrics --alter --name basic --match no_such_label=x
say kafka-client-metrics --alter --name basic --match client_id=
say kafka-client-metrics --alter --name basic --match 'client_id=['
configs --alter --entity-type client-metrics --entity-name basic --add-config no.such=1
configs --alter --entity-type client-metrics --entity-name basic --delete-config metrics
say kafka-client-metrics --describe --name basic
say kafka-client-metrics --delete --name basic
say kafka-client-metrics --delete --name java
say kafka-client-metrics --list
say kafka-client-metrics --describe --name gone

title "settings of groups"
configs --alter --entity-type groups --entity-name g --add-config consumer.heartbeat.interval.ms=6000
of_group_g kafka-configs --describe --entity-type groups
configs --alter --entity-type groups --entity-name g --add-config consumer.heartbeat.interval.ms=1
configs --alter --entity-type groups --entity-name g --add-config consumer.session.timeout.ms=1000
configs --alter --entity-type groups --entity-name g --add-config no.such=1
configs --alter --entity-type groups --entity-name g --add-config share.auto.offset.reset=earliest
sorted kafka-configs --describe --entity-type groups --entity-name g
sorted kafka-configs --describe --entity-type groups --entity-name g --all | grep -v errors.deadletterqueue
configs --alter --entity-type groups --entity-name g --delete-config consumer.heartbeat.interval.ms,share.auto.offset.reset
of_group_g kafka-configs --describe --entity-type groups
title "settings of topics"
configs --alter --entity-type topics --entity-name no-such-topic --add-config retention.ms=1
configs --describe --entity-type topics --entity-name no-such-topic
configs --alter --entity-type topics --entity-name $topic --add-config retention.ms=1000000
sorted kafka-configs --describe --entity-type topics --entity-name $topic

title "reassignments"
echo '{"version":1,"partitions":[{"topic":"admin","partition":0,"replicas":[1]}]}' >"$work/same.json"
echo '{"version":1,"partitions":[{"topic":"admin","partition":0,"replicas":[2]}]}' >"$work/other.json"
echo '{"version":1,"partitions":[{"topic":"admin","partition":0,"replicas":[1,1]}]}' >"$work/twice.json"
echo '{"version":1,"partitions":[{"topic":"admin","partition":9,"replicas":[1]}]}' >"$work/unknown.json"
echo '{"topics":[{"topic":"admin"}],"version":1}' >"$work/topics.json"
say kafka-reassign-partitions --list
for plan in same other twice unknown; do say kafka-reassign-partitions --execute --reassignment-json-file "$work/$plan.json"; done
say kafka-reassign-partitions --verify --reassignment-json-file "$work/same.json"
say kafka-reassign-partitions --cancel --reassignment-json-file "$work/same.json"
say kafka-reassign-partitions --generate --topics-to-move-json-file "$work/topics.json" --broker-list 1
title "elections"
say kafka-leader-election --election-type preferred --all-topic-partitions
say kafka-leader-election --election-type preferred --topic $topic --partition 0
say kafka-leader-election --election-type unclean --topic $topic --partition 0
say kafka-leader-election --election-type preferred --topic no-such-topic --partition 0
say kafka-leader-election --election-type preferred --topic $topic --partition 7

title "offsets"
# With a key, so that it goes where it must; several would have the highest timestamp by chance.
echo key:value >"$work/records"
INPUT=$work/records call kafka-console-producer --topic $topic --reader-property parse.key=true --reader-property key.separator=:
for time in earliest latest max-timestamp earliest-local latest-tiered earliest-pending-upload; do
  echo "$time:"
  sorted kafka-get-offsets --topic $topic --time $time --partitions 0,1
done
say kafka-get-offsets --topic no-such-topic
title "log directories"
say kafka-log-dirs --describe --topic-list $topic | sed -E 's/"logDir":"[^"]*"/"logDir":"DIR"/; s/("(total|usable)Bytes":)[0-9]+/\10/g; s/("size":)[0-9]+/\10/g' |
  python3 -c 'import json,sys
for line in sys.stdin:
    if line.startswith("{"):
        told = json.loads(line)
        for broker in told["brokers"]:
            for d in broker["logDirs"]: d["partitions"].sort(key=lambda p: p["partition"])
        line = json.dumps(told) + "\n"
    print(line, end="")'
title "cluster"
for command in cluster-id list-endpoints "unregister --id 9"; do
  # shellcheck disable=SC2086
  quick_tool "$work/out" kafka-cluster $command --bootstrap-server "$bootstrap" || true
  plain <"$work/out" | sed -E 's/(cluster ID): .*/\1: ID/i; s/^(1 127.0.0.1) [0-9]+/\1 PORT/' || true
done
title "features"
features() { say kafka-features describe | grep -v -e kraft.version -e eligible.leader | sed -E 's/Epoch: [0-9]+/Epoch: N/'; }
features
say kafka-features upgrade --feature no.such.feature=1
say kafka-features upgrade --feature group.version=9
say kafka-features upgrade --feature group.version=1 --feature transaction.version=2
say kafka-features upgrade --feature group.version=1
say kafka-features downgrade --feature group.version=0 --dry-run
say kafka-features upgrade --feature group.version=0 --dry-run
say kafka-features downgrade --feature group.version=0
say kafka-features upgrade --feature group.version=1 --dry-run
say kafka-features upgrade --feature group.version=1
say kafka-features downgrade --metadata 3.0
say kafka-features downgrade --metadata 3.3-IV3
say kafka-features upgrade --metadata 4.3-IV0
say kafka-features disable --feature metadata.version
say kafka-features downgrade --feature transaction.version=1
features
title "quorum"
# The voter's endpoint is on the controllers' listener; Strata has one listener for all.
say kafka-metadata-quorum describe --status | sed -E 's/(LeaderEpoch|HighWatermark|MaxFollowerLag|MaxFollowerLagTimeMs): .*/\1: N/; s/[A-Za-z0-9_-]{22}/ID/g;
  s|[A-Z]+://BROKER|LISTENER|'
say kafka-metadata-quorum describe --replication | awk '{ print $1, $NF }' | sed -E 's/[0-9]+ (Leader|Follower|Observer)/ID \1/'
