#!/usr/bin/env bash
# Kafka's own console tools for Kafka Streams: console-streams.sh BOOTSTRAP. A word count with group.protocol=streams is
# listed, described, reset, its offsets and the whole of it deleted; one with the classic protocol is reset with
# kafka-streams-application-reset, and counts everything once more.
. "$(dirname "${BASH_SOURCE[0]}")/../env.sh"
bootstrap=$1 id=console-streams
work=$(mktemp -d)
app=
trap '[ -z "$app" ] || kill -KILL "$app" 2>/dev/null || true; rm -rf "$work"' EXIT
call() { tool "$1" --bootstrap-server "$bootstrap" "${@:2}"; }
title() { echo "== $*"; }
# Ids that differ each time; columns are padded to their width, and lines come in any order.
plain() {
  sed -E 's/127.0.0.1:[0-9]+/BROKER/; s/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/PROCESS/g; s/ [A-Za-z0-9_-]{22} / MEMBER /
    s/[[:space:]]+/ /g; /^ *$/d; /^ at /d' | sort
}
own() { grep -E "GROUP|$id"; } # what other clients left on the server is not ours
groups() { { call kafka-streams-groups "$@" 2>&1 || echo failed; } | plain; }
reset() { call kafka-streams-groups --reset-offsets --group $id "$@" 2>&1 | plain; }

start() { # ID SETTING...: one process of the word count
  java -Xmx256M "${TOOL_JVM[@]}" -cp "$HOME_DIR/streams/classes:$HOME_DIR/streams/libs/*:$(kafka_classpath)" \
    Application "$bootstrap" "$1" word-count "$work/state" "${@:2}" 2>"$work/app.err" &
  app=$!
}
stop() { kill "$app"; wait "$app" || true; app=; }
counts() { # ID COUNT
  call kafka-console-consumer --topic "$1-counts" --from-beginning --max-messages "$2" --timeout-ms 30000 \
    --formatter-property print.key=true --formatter-property print.value=false 2>/dev/null | sort | uniq -c
}
create() { # ID
  local topic
  for topic in lines counts; do call kafka-topics --create --topic "$1-$topic" --partitions 1; done
  printf '%s\n' 'alpha beta gamma' 'alpha beta' 'alpha' | call kafka-console-producer --topic "$1-lines"
}
await_state() { # STATE
  local _
  for _ in $(seq 60); do
    [[ "$(call kafka-streams-groups --describe --group $id --state 2>/dev/null)" != *" $1 "* ]] || return 0
  done
  die "the group does not become $1"
}

title "a word count"
create $id
start $id group.protocol=streams
counts $id 6
title "list"
groups --list | own
groups --list --state | own
groups --list --state stable | own
title "describe"
for what in --offsets "--offsets --verbose" --state "--state --verbose" --members "--members --verbose"; do
  # shellcheck disable=SC2086 # several words
  groups --describe --group $id $what
done
call kafka-groups --list 2>&1 | plain | own
title "what a group with members lets be done"
groups --delete --group $id
reset --to-earliest --input-topic $id-lines --dry-run
stop
await_state Empty
title "reset"
reset --to-earliest --all-input-topics --dry-run
reset --to-offset 1 --input-topic $id-lines --execute
groups --describe --group $id --offsets --verbose
title "delete offsets, and the group with its topics"
groups --delete-offsets --group $id --input-topic $id-lines
groups --describe --group nobody
groups --delete --group $id --delete-all-internal-topics
groups --list | own || true
call kafka-topics --list | grep $id

title "reset a classic application, which counts everything again"
create $id-classic
start $id-classic main.consumer.session.timeout.ms=6000 main.consumer.heartbeat.interval.ms=500
counts $id-classic 6
stop
call kafka-streams-application-reset --application-id $id-classic --input-topics $id-classic-lines --force 2>&1 | plain
call kafka-topics --list | grep $id-classic
rm -rf "$work/state"
start $id-classic
counts $id-classic 12
stop
