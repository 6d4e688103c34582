#!/usr/bin/env bash
# What kafka-consumer-groups and kafka-configs say of groups of either type: groups.sh BOOTSTRAP.
. "$(dirname "${BASH_SOURCE[0]}")/../env.sh"
bootstrap=$1 topic=grouped
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
call() { tool "$1" --bootstrap-server "$bootstrap" "${@:2}"; }
title() { echo "== $*"; }
# Ids and addresses that differ each time; columns are padded to their width.
plain() {
  sed -E 's/127.0.0.1:[0-9]+/BROKER/; s/console-consumer-[0-9a-f]{8}-[0-9a-f-]+/MEMBER/g; s/(^| )[A-Za-z0-9_-]{22}( |$)/\1MEMBER\2/g; s/[[:space:]]+/ /g' |
    { grep -v '^ *$\|^ *at \|^.20[0-9-]* .* WARN ' || true; } | sort
}
groups() { (call kafka-consumer-groups "$@" 2>&1 || true) | plain; }
# until_state GROUP STATE
until_state() {
  local _ said
  for _ in $(seq 30); do
    said=$(groups --describe --group "$1" --state)
    [[ $said != *" $2 "* ]] || return 0
  done
  die "the group $1 does not become $2"
}

call kafka-topics --create --topic $topic --partitions 2 >/dev/null
# Keys say where a record goes; without them the partition is the producer's luck.
seq 20 | sed 's/.*/&:&/' | call kafka-console-producer --topic $topic --reader-property parse.key=true --reader-property key.separator=:
for protocol in classic consumer; do
  group=grouped-$protocol
  title "$protocol: nothing there"
  groups --describe --group $group
  groups --delete --group $group
  title "$protocol: a member"
  TOOL=exec call kafka-console-consumer --topic $topic --group $group --from-beginning --command-property group.protocol=$protocol \
    >"$work/$protocol" 2>"$work/$protocol.err" &
  pids+=($!)
  for _ in $(seq 300); do [ "$(wc -l <"$work/$protocol")" -lt 20 ] || break; sleep 0.1; done
  until_state $group Stable
  groups --describe --group $group --state
  groups --describe --group $group --state --verbose
  groups --describe --group $group --members
  groups --describe --group $group --members --verbose
  groups --list --state
  groups --list --type
  groups --list --type $protocol
  groups --list --state Stable,Empty --type $protocol
  title "$protocol: what a group with a member does not let happen"
  groups --delete --group $group
  groups --delete-offsets --group $group --topic $topic
  groups --reset-offsets --group $group --topic $topic --to-earliest --execute
  kill "${pids[-1]}"; wait "${pids[-1]}" || true
  unset 'pids[-1]'
  until_state $group Empty
  title "$protocol: empty"
  groups --describe --group $group
  groups --describe --group $group --state
  groups --reset-offsets --group $group --topic $topic:0 --to-offset 3 --execute
  groups --reset-offsets --group $group --all-topics --shift-by -1 --dry-run
  groups --delete-offsets --group $group --topic $topic:1
  groups --describe --group $group --offsets
done
title "settings"
for setting in consumer.session.timeout.ms=50000 consumer.heartbeat.interval.ms=1 consumer.session.timeout.ms=100 no.such.setting=1; do
  (call kafka-configs --alter --entity-type groups --entity-name grouped-consumer --add-config $setting 2>&1 || true) |
    grep -v '^\s*at ' | grep -o 'Completed.*\|Exception: .*' | tail -1
done
call kafka-configs --describe --entity-type groups --entity-name grouped-consumer | plain
title "delete"
groups --delete --group grouped-classic --group grouped-consumer
groups --list
call kafka-topics --delete --topic $topic
