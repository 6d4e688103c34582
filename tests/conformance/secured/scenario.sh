# Sourced by ../security: what is played. Every chapter prints what it saw, without anything that depends on chance.

# Kafka's tools, all in one process: see clients/java/ToolShell.java.
begin_tools() {
  coproc TOOLS {
    exec java -Xmx400M "${TOOL_JVM[@]}" "$(allowed_urls)" -cp "$HOME_DIR/java:$(kafka_classpath)" ToolShell 2>"$work/tools-$1.log"
  }
  echo "$TOOLS_PID" >"$work/server-$1/tools.pid"
  exec 7>&"${TOOLS[1]}" 8<&"${TOOLS[0]}"
}

run_tool() { # CLASS ARG...: with $input as its standard input
  local part line request=${input:-}
  for part in "$@"; do request+=$'\x1f'$part; done
  printf '%s\n' "$request" >&7
  while IFS= read -r line <&8; do
    [ "$line" != $'\x04' ] || return 0
    [ -z "$line" ] || printf '%s\n' "$line"
  done
  echo "the tools' process has ended"
}

# as CLIENT TOOL ARG...: one of Kafka's tools as one of the clients.
as() {
  local client=$1 tool=$2 option=--command-config; shift 2
  run_tool "$(tool_class "$tool")" --bootstrap-server "127.0.0.1:$(port_of "$(listener_of "$client")")" $option "$work/$client.properties" "$@"
}
by_anybody() { as anonymous "$@"; }
listener_of() { sed -n '1s/^# //p' "$work/$1.properties"; }

# eventually PATTERN COMMAND...: what the command prints, once it matches: brokers follow what the controller has decided.
eventually() {
  local pattern=$1 said end=$((SECONDS + 20)); shift
  until said=$("$@"); grep -q -e "$pattern" <<<"$said" || [ $SECONDS -ge $end ]; do sleep 0.05; done
  printf '%s\n' "$said"
}

# What is said of time, threads, places and secrets is not compared.
plainly() {
  sed -E 's/^\[[^]]*\] //; s/127\.0\.0\.1:[0-9]+/HOST/g; s/\(id: [^)]*\)//g; s/clientId=[^],]*/clientId=ID/g
    s/console-consumer-[0-9]+/GROUP/g; s/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]+/TIME/g; s/[A-Za-z0-9+/]{86}==/HMAC/g
    s/(^|[^A-Za-z0-9_-])[A-Za-z0-9_-]{22}([^A-Za-z0-9_-]|$)/\1TOKEN\2/g; s/^\s+//; s/\s+$//; s/(only supports operations).*/\1/' | { grep -v -e '^at ' -e '^$' || true; } | sort -u
}
# Kafka's words on the cluster repeat the whole request, and TLS libraries name alerts as they like: of these, the kind counts.
errors() {
  plainly | grep -o -e '[A-Za-z.]*\(Exception\|Error\): [^(]*' -e 'Not authorized to [^(]*' |
    sed -E 's/^[A-Za-z.]*\.//; s/^(ExecutionException|CompletionException): [a-z.]*/\1: /; s/((ClusterAuthorization|SSLHandshake|SslAuthentication)Exception): .*/\1/' |
    sort -u || true
}

users() {
  local user=(by_anybody kafka-configs --entity-type users) bob
  bob=("${user[@]}" --alter --entity-name bob --add-config)
  "${bob[@]}" 'SCRAM-SHA-256=[password=x],SCRAM-SHA-512=[password=x]' | errors # one user, twice
  "${bob[@]}" 'SCRAM-SHA-256=[iterations=8192,password=c=secret]' | plainly
  "${bob[@]}" 'SCRAM-SHA-512=[password=c=secret]' | plainly
  "${bob[@]}" 'SCRAM-SHA-256=[iterations=10,password=x]' | errors
  "${bob[@]}" 'SCRAM-SHA-256=[iterations=16385,password=x]' | errors
  "${bob[@]}" 'SCRAM-SHA-1=[password=x]' | errors
  "${user[@]}" --alter --entity-name gone --add-config 'SCRAM-SHA-512=[password=g-secret]' | plainly
  eventually gone "${user[@]}" --describe | tr -d , | tr ' ' '\n' | plainly # mechanisms come in any order
  echo 'a user is deleted'
  eventually '^$' as scram-gone kafka-topics --list | plainly
  "${user[@]}" --alter --entity-name gone --delete-config SCRAM-SHA-256 | errors
  "${user[@]}" --alter --entity-name gone --delete-config SCRAM-SHA-512 | plainly
  eventually SaslAuthentication as scram-gone kafka-topics --list | errors
  "${user[@]}" --describe --entity-name gone | plainly
}

entries() {
  local acls=(by_anybody kafka-acls)
  by_anybody kafka-topics --create --topic t --partitions 1 | plainly
  for user in alice bob carol dave machine-7@robots 1.2.840.113549.1.9.1=#16106572696e406578616d706c652e6f7267,CN=erin; do
    "${acls[@]}" --add --allow-principal "User:$user" --operation Read --operation Write --topic t | plainly
  done
  "${acls[@]}" --add --allow-principal User:alice --allow-host 127.0.0.1 --operation All --topic my- --resource-pattern-type prefixed --force | plainly
  "${acls[@]}" --add --allow-principal User:alice --operation Read --group secured- --resource-pattern-type prefixed | plainly
  "${acls[@]}" --add --deny-principal User:alice --operation Delete --topic my-keep --force | plainly
  "${acls[@]}" --add --allow-principal User:bob --producer --topic by-bob --transactional-id bob --idempotent | plainly
  "${acls[@]}" --add --allow-principal User:bob --consumer --topic by-bob --group '*' | plainly
  "${acls[@]}" --add --allow-principal User:bob --operation ClusterAction --topic t | plainly
  "${acls[@]}" --add --allow-principal bob --operation Read --topic t | errors
  "${acls[@]}" --add --allow-principal User:bob --operation DescribeTokens --user-principal User:alice | plainly
  "${acls[@]}" --add --allow-principal User:bob --operation Describe --delegation-token abc | plainly
  eventually abc "${acls[@]}" --list | plainly
  for pattern in literal prefixed match any; do
    echo "list $pattern"; "${acls[@]}" --list --topic my-keep --resource-pattern-type "$pattern" | plainly
  done
  "${acls[@]}" --list --principal User:bob --cluster | plainly
  echo 'remove'
  "${acls[@]}" --remove --allow-principal User:bob --operation Describe --delegation-token abc --force | plainly
  "${acls[@]}" --remove --topic by- --resource-pattern-type prefixed --force | plainly # nothing matches
  "${acls[@]}" --remove --topic by-bob --resource-pattern-type match --force | plainly
  "${acls[@]}" --list --principal User:bob | plainly
}

# Who is who, what they may write, and what they are told.
mechanisms() {
  for client in plain plain-tls scram-256 scram-512 carol machine erin oauth-good issued-good; do
    echo "= $client"
    input="from $client" as "$client" kafka-console-producer --topic t | plainly
    as "$client" kafka-topics --list | plainly
    as "$client" kafka-topics --create --topic forbidden | errors
  done
  by_anybody kafka-console-consumer --topic t --partition 0 --from-beginning --max-messages 9 --timeout-ms 10000 | plainly
  for client in plain-wrong plain-nobody scram-wrong scram-nobody no-certificate not-enabled oauth-forged oauth-expired oauth-audience oauth-unsigned oauth-shared issued-forged; do
    echo "= $client"
    as "$client" kafka-topics --list | errors
  done
}

denied() {
  as plain kafka-topics --create --topic my-keep --partitions 1 | plainly
  as plain kafka-topics --delete --topic my-keep | errors
  as plain kafka-configs --describe --entity-type topics --entity-name t | errors
  as plain kafka-acls --list | errors
  as plain kafka-console-consumer --topic t --group g --timeout-ms 3000 | errors
  as plain kafka-consumer-groups --list | plainly
  by_anybody kafka-acls --remove --deny-principal User:alice --operation Delete --topic my-keep --force | plainly
  eventually '^$' as plain kafka-topics --delete --topic my-keep | plainly
  by_anybody kafka-acls --list --principal User:alice | plainly
}

access() { run_tool Access "127.0.0.1:$(port_of plain)" "127.0.0.1:$(port_of sasl)" "$work/eve.properties" eve; }

# Delegation tokens (KIP-48): frank's, whom bob may renew.
tokens() {
  local token=kafka-delegation-tokens id hmac
  as anonymous $token --create --max-life-time-period -1 | errors
  as frank $token --create --max-life-time-period -1 --renewer-principal User:bob >"$work/token-$1"
  plainly <"$work/token-$1"
  id=$(grep -o 'tokenId : [^ ]*' "$work/token-$1" | cut -d' ' -f3); hmac=$(grep -oE '[A-Za-z0-9+/]{86}==' "$work/token-$1" | head -n 1)
  by_scram "token-256-$1" sasl SCRAM-SHA-256 "$id" "$hmac" ' tokenauth="true"'
  by_scram "token-512-$1" both SCRAM-SHA-512 "$id" "$hmac" ' tokenauth="true"'
  by_scram "token-renewed-$1" renewed SCRAM-SHA-256 "$id" "$hmac" ' tokenauth="true"'
  by_scram "token-wrong-$1" sasl SCRAM-SHA-256 "$id" wrong ' tokenauth="true"'
  by_scram "token-as-user-$1" sasl SCRAM-SHA-256 "$id" "$hmac"
  eventually 'tokens : 1' as frank $token --describe --owner-principal User:frank | plainly
  for client in scram-256 plain; do echo "described by $client"; as $client $token --describe --owner-principal User:frank | plainly; done
  as anonymous $token --describe | errors
  by_anybody kafka-acls --add --allow-principal User:frank --operation Read --operation Write --topic t | plainly
  eventually '^t$' as frank kafka-topics --list | plainly
  for client in token-256 token-512; do
    echo "= $client"
    as "$client-$1" kafka-topics --list | plainly
    as "$client-$1" $token --create --max-life-time-period -1 | errors
    as "$client-$1" $token --describe | errors
  done
  for client in token-wrong token-as-user; do as "$client-$1" kafka-topics --list | errors; done
  echo 'again within one connection'
  run_tool Renewed "127.0.0.1:$(port_of renewed)" "$work/token-renewed-$1.properties" t
  echo 'renewed'
  as scram-256 $token --renew --renew-time-period 3600000 --hmac "$hmac" | plainly
  as plain $token --renew --renew-time-period -1 --hmac "$hmac" | errors
  as frank $token --renew --renew-time-period -1 --hmac bm9uZQ== | errors
  as plain $token --expire --expiry-time-period -1 --hmac "$hmac" | errors
  echo 'expired'
  as scram-256 $token --expire --expiry-time-period -1 --hmac "$hmac" | sed 's/[0-9]\{13\}/MS/' | plainly
  eventually SaslAuthentication as "token-256-$1" kafka-topics --list | errors
  as frank $token --describe --owner-principal User:frank | plainly
}

# The issuer's keys change, and the old ones do not count any more.
rotation() {
  cp "$work/rotated.json" "$work/server-$1/keys/served.next"; mv "$work/server-$1/keys/served.next" "$work/server-$1/keys/served.json"
  eventually '^t$' as issued-next kafka-topics --list | plainly
  as issued-good kafka-topics --list | errors
}

served() { # LISTENER: the serial number of the certificate that is shown there
  openssl s_client -connect "127.0.0.1:$(port_of "$1")" </dev/null 2>/dev/null | openssl x509 -noout -serial
}
serial() { openssl x509 -noout -serial -in "$work/$1.crt"; }
shows() { # LISTENER NAME: whether, within some seconds, it shows that certificate
  [ "$(eventually "$(serial "$2")" served "$1")" = "$(serial "$2")" ] && echo "$1 shows $2" || echo "$1 does not show $2"
}

# Another certificate, without a restart: by a setting, and in the same file.
reload() {
  local change answer alter=(by_anybody kafka-configs --entity-type brokers --entity-name 1 --alter --add-config) name=listener.name.both.ssl.keystore
  shows both server
  cp "$work/next-1.p12" "$work/server-$1/own.p12"
  "${alter[@]}" "$name.location=$work/server-$1/own.p12,$name.password=changeit,$name.type=PKCS12,listener.name.both.ssl.key.password=changeit" | plainly
  shows both next-1
  cp "$work/next-2.p12" "$work/server-$1/own.p12"
  "${alter[@]}" "$name.location=$work/server-$1/own.p12" | plainly
  shows both next-2
  for change in "location=$work/missing.p12" "location=$work/stranger.p12" "password=wrong"; do # the second is for another name
    answer=$("${alter[@]}" "$name.$change")
    if grep -q InvalidRequestException <<<"$answer"; then echo "refused: ${change##*/}"; else echo "taken: ${change##*/}"; fi
  done
  shows both next-2
  as scram-512 kafka-topics --list | plainly
  by_anybody kafka-configs --entity-type brokers --entity-name 1 --describe | grep -o '^ *listener.name.[^ ]*=[^ ]*' | sed "s#$work/server-$1#DIR#" | plainly
}

other_clients() {
  local at=127.0.0.1:$(port_of both) renewed=127.0.0.1:$(port_of renewed)
  "$PYTHON" "$HERE/clients/secured/librdkafka_renewed.py" "$renewed" t $((3 * SESSION_MS / 1000)) >"$work/renewed-$1" 2>&1 &
  local waiting=$!
  "$PYTHON" "$HERE/clients/secured/librdkafka.py" "$(port_of sasl)" "$(port_of ssl)" "$(port_of both)" "$work"
  "$HOME_DIR/bin/secured" "$at" "$work/ca.pem" t
  "$PYTHON" "$HERE/clients/secured/kafka_python.py" "$at" "$work/ca.pem" t
  NODE_PATH=$HOME_DIR/kafkajs/node_modules node "$HERE/clients/secured/kafkajs.js" "$at" "$work/ca.pem" t
  run_tool Renewed "$renewed" "$work/scram-renewed.properties" t
  wait $waiting || true
  cat "$work/renewed-$1"
}
