#!/usr/bin/env bash
# Kafka's own console tools: console.sh BOOTSTRAP. The scenario of the README as far as they can play it; beside it, what
# only they do: alter a topic's settings and partitions, reset a group's offsets.
. "$(dirname "${BASH_SOURCE[0]}")/../env.sh"
bootstrap=$1 topic=console group=console-group
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
call() { tool "$1" --bootstrap-server "$bootstrap" "${@:2}"; }
title() { echo "== $*"; }
# Ids that differ each time; columns are padded to their width, and some lines come in any order.
plain() { sed -E 's/127.0.0.1:[0-9]+/BROKER/; s/TopicId: [A-Za-z0-9_-]{22}/TopicId: ID/; s/console-consumer-[0-9a-f-]+/MEMBER/g; s/[[:space:]]+/ /g' | grep -v '^ *$'; }

produce() { # CODEC WORD: twelve records with keys; null values are written NULL
  local n
  for n in $(seq 0 11); do
    if [ $((n % 5)) = 4 ]; then echo "codec:$2,n:$n|key-$n|NULL"; else echo "codec:$2,n:$n|key-$n|$2 value $n"; fi
  done | call kafka-console-producer --topic $topic --compression-codec "$1" --reader-property parse.key=true \
    --reader-property parse.headers=true --reader-property 'headers.delimiter=|' --reader-property 'key.separator=|' \
    --reader-property null.marker=NULL --command-property enable.idempotence=true
}
consume() { # ARGS...
  call kafka-console-consumer --topic $topic --timeout-ms 30000 --formatter-property print.key=true \
    --formatter-property print.partition=true --formatter-property print.offset=true \
    --formatter-property print.headers=true --formatter-property null.literal=NULL "$@"
}
groups() { call kafka-consumer-groups "$@" --group $group 2>&1 | plain; }

title "create, and create again"
call kafka-topics --create --topic $topic --partitions 3 --replication-factor 1 --config retention.ms=-1
(call kafka-topics --create --topic $topic --partitions 3 2>&1 || true) | grep -o "Topic '$topic' already exists." | head -1
title "topic"
call kafka-topics --describe --topic $topic | plain

for codec in none gzip snappy lz4 zstd; do produce $codec $codec; done
title "offsets"
call kafka-get-offsets --topic $topic --time earliest
call kafka-get-offsets --topic $topic --time latest
title "records"
consume --group $group --from-beginning --max-messages 60 2>"$work/err" | sort || { cat "$work/err" >&2; exit 1; }
cat "$work/err"
title "group"
groups --describe
groups --describe --state

produce none more
title "the group resumes"
consume --group $group --max-messages 12 2>&1 | sort
title "reset to the start"
groups --reset-offsets --to-earliest --topic $topic --execute | sort
title "one partition from an offset"
consume --partition 1 --offset 3 --max-messages 2 2>&1

title "two members"
for member in 1 2; do
  TOOL=exec consume --group $group --from-beginning >"$work/member-$member" 2>"$work/member-$member.err" &
  pids+=($!)
done
# shares: how many partitions the members have, in order.
shares() { groups --describe --members | awk '$2 == "MEMBER" || $2 ~ /^MEMBER/ { print $NF }' | sort | xargs; }
for _ in $(seq 20); do [ "$(shares)" != "1 2" ] || break; done
echo "shares: $(shares)"
for _ in $(seq 300); do [ "$(cat "$work"/member-? | wc -l)" -lt 72 ] || break; sleep 0.1; done
echo "together: $(cat "$work"/member-? | sort -u | wc -l) different records"
kill "${pids[@]}"
for pid in "${pids[@]}"; do wait "$pid" || true; done
pids=()
groups --describe --state

title "settings"
call kafka-configs --alter --entity-type topics --entity-name $topic --add-config max.message.bytes=200000,cleanup.policy=compact
call kafka-configs --describe --entity-type topics --entity-name $topic | sed 's/ synonyms=.*//' | plain | sort
call kafka-configs --alter --entity-type topics --entity-name $topic --delete-config cleanup.policy
call kafka-configs --describe --entity-type topics --entity-name $topic | sed 's/ synonyms=.*//' | plain | sort
title "more partitions"
call kafka-topics --alter --topic $topic --partitions 4
call kafka-topics --describe --topic $topic | plain

title "delete"
call kafka-consumer-groups --delete --group $group
call kafka-topics --delete --topic $topic
call kafka-topics --list | grep -cx $topic || true
