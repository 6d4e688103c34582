#!/usr/bin/env bash
# kafka-transactions: transaction-tools.sh BOOTSTRAP. Transactions that are open, and those that hang as their coordinator does
# not know of them: listed, described, found, ended by hand; and what a reader of committed records sees meanwhile.
. "$(dirname "${BASH_SOURCE[0]}")/tools.sh"
topic=transacted
# table COLUMN...: ids, times and durations in these columns differ each time.
table() {
  awk -v columns="$*" 'BEGIN { split(columns, at, " ") } { for (i in at) if ($(at[i]) ~ /^[0-9]+$/) $(at[i]) = "N"; print }'
}
# Those of other clients on the same server do not count.
list() { say kafka-transactions list "$@" | table 3 | awk '!($2 ~ /^[0-9]+$/) || /^tt-/' | sort; }
describe() { say kafka-transactions describe --transactional-id "$1" | table 3 7 8; }
producers() { say kafka-transactions describe-producers --topic $topic --partition 0 | table 1 5 | sort; }
hanging() { say kafka-transactions find-hanging "$@" | table 3 7 8; }
transaction() { # open|hang ID
  quick_tool "$work/out" undecided "$bootstrap" "$1" $topic "$2" || echo "status $?"
  plain <"$work/out"
}
read_committed() {
  say kafka-console-consumer --topic $topic --partition 0 --offset earliest --isolation-level read_committed --timeout-ms 1500 \
    --formatter-property print.offset=true
}
verification() { call kafka-configs --alter --entity-type brokers --entity-default "$1"; }

call kafka-topics --create --topic $topic --partitions 1
title "nothing there"
list
describe tt-nobody
producers
hanging --topic $topic --partition 0
hanging --topic $topic
hanging
say kafka-transactions abort --topic $topic --partition 0 --start-offset 0
say kafka-transactions abort --topic $topic --partition 0
say kafka-transactions abort --topic $topic --partition 0 --producer-id 77777 --producer-epoch 3 --coordinator-epoch 0

title "one that is open"
transaction open tt-open
list
list --duration-filter 3600000
list --transactional-id-pattern 'tt-.*'
list --transactional-id-pattern 'tt-('
describe tt-open
producers
hanging --topic $topic --partition 0
read_committed
title "ended by force"
say kafka-transactions forceTerminateTransaction --transactionalId tt-open
say kafka-transactions forceTerminateTransaction --transactionalId tt-nobody
producers
read_committed

title "one that hangs"
transaction hang tt-verified
verification --add-config=transaction.partition.verification.enable=false
transaction hang tt-hanging
verification --delete-config=transaction.partition.verification.enable
describe tt-hanging
producers
seq 3 >"$work/records"
INPUT=$work/records call kafka-console-producer --topic $topic --sync
read_committed
hanging --topic $topic --partition 0
hanging --topic $topic
hanging --broker-id 1
hanging --broker-id 1 --max-transaction-timeout 90
title "aborted by hand"
say kafka-transactions abort --topic $topic --partition 0 --start-offset 0
start=$(producers | awk '$NF ~ /^[0-9]+$/ { print $NF }')
say kafka-transactions abort --topic $topic --partition 0 --start-offset "$start"
producers
hanging --topic $topic
read_committed

title "another, aborted by what is known of its producer; a late marker is refused"
verification --add-config=transaction.partition.verification.enable=false
transaction hang tt-again
verification --delete-config=transaction.partition.verification.enable
read -r id epoch <<<"$(say kafka-transactions describe-producers --topic $topic --partition 0 | awk '$NF ~ /^[0-9]+$/ { print $1, $2 }')"
say kafka-transactions abort --topic $topic --partition 0 --producer-id "$id" --producer-epoch "$((epoch + 1))" --coordinator-epoch -1
hanging --topic $topic --partition 0
say kafka-transactions abort --topic $topic --partition 0 --producer-id "$id" --producer-epoch "$epoch" --coordinator-epoch 0 | sed 's/producerId=[0-9]*/producerId=N/g'
producers
hanging --topic $topic
read_committed
title "the producers' own next transactions"
transaction open tt-again
producers
say kafka-transactions forceTerminateTransaction --transactionalId tt-again
list
call kafka-topics --delete --topic $topic
