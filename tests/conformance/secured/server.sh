# Sourced by ../security: a server that asks who comes.
#
#   plain    nobody in particular, who may do everything        sasl   PLAIN, SCRAM, bearer tokens by keys from a file
#   ssl      certificates; the server's own key is encrypted    both   SASL over TLS
#   renewed  sessions that end                                  issued bearer tokens by keys from an address

LISTENERS=(plain sasl ssl both renewed issued)
SESSION_MS=4000

settings() { # SERVER: prints them
  local login=org.apache.kafka.common.security name
  printf '%s\n' \
    "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER" \
    "listener.name.both.ssl.keystore.type=PKCS12" "listener.name.both.ssl.keystore.location=$work/server.p12" \
    "listener.name.both.ssl.keystore.password=changeit" "listener.name.both.ssl.key.password=changeit" \
    "listener.name.ssl.ssl.keystore.type=PEM" "listener.name.ssl.ssl.keystore.location=$work/keyed-$1.pem" \
    "listener.name.ssl.ssl.key.password=k-secret" "listener.name.ssl.ssl.client.auth=required" \
    "ssl.truststore.type=PKCS12" "ssl.truststore.location=$work/trust.p12" "ssl.truststore.password=changeit" \
    "ssl.principal.mapping.rules=RULE:^CN=(.*?),OU=.*\$/\$1/,RULE:^CN=([^,]*),O=Robots,.*\$/\$1@robots/L,DEFAULT" \
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer" \
    "super.users=User:admin;User:ANONYMOUS" "delegation.token.secret.key=a-secret" \
    "offsets.topic.num.partitions=1" "transaction.state.log.num.partitions=1" "share.coordinator.state.topic.num.partitions=1" \
    "group.initial.rebalance.delay.ms=0" "auto.create.topics.enable=false" "inter.broker.listener.name=PLAIN" \
    "listener.name.renewed.scram-sha-256.connections.max.reauth.ms=$SESSION_MS" \
    "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,SSL:SSL,BOTH:SASL_SSL,RENEWED:SASL_PLAINTEXT,ISSUED:SASL_PLAINTEXT"
  for name in sasl both renewed issued; do
    local prefix=listener.name.$name keys=file://$work/jwks.json
    [ $name != issued ] || keys=http://127.0.0.1:$issuer/keys
    printf '%s\n' \
      "$prefix.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_admin=\"a-secret\" user_alice=\"b-secret\" user_eve=\"e-secret\" user_frank=\"f-secret\";" \
      "$prefix.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;" \
      "$prefix.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;" \
      "$prefix.oauthbearer.sasl.jaas.config=$login.oauthbearer.OAuthBearerLoginModule required;" \
      "$prefix.oauthbearer.sasl.server.callback.handler.class=$login.oauthbearer.OAuthBearerValidatorCallbackHandler" \
      "$prefix.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=$keys" \
      "$prefix.oauthbearer.sasl.oauthbearer.expected.audience=kafka" \
      "$prefix.oauthbearer.sasl.oauthbearer.expected.issuer=https://issuer"
  done
}

allowed_urls() { # what Java asks of whoever reads keys and tokens from addresses
  local urls="http://127.0.0.1:$issuer/keys" file
  for file in "$work"/*.jwt "$work/jwks.json"; do urls+=,file://$file; done
  echo "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=$urls"
}

start() { # SERVER: sets `ports` and `issuer`
  local dir=$work/server-$1 listeners="" i line overrides=()
  mkdir -p "$dir/keys"; cp "$work/jwks.json" "$dir/keys/served.json"
  python3 "$HERE/clients/secured/issuer.py" serve "$dir/keys" >"$dir/issuer.port" 2>"$dir/issuer.log" </dev/null &
  echo $! >"$dir/issuer.pid"
  await 30 $! "$dir/issuer.log" test -s "$dir/issuer.port"
  issuer=$(cat "$dir/issuer.port")
  read -r -a ports <<<"$(free_port $((${#LISTENERS[@]} + 1)))"
  for i in "${!LISTENERS[@]}"; do listeners+=${listeners:+,}${LISTENERS[i]^^}://127.0.0.1:${ports[i]}; done
  settings "$1" >"$dir/settings"
  if [ "$1" = kafka ]; then
    local controller=${ports[${#LISTENERS[@]}]}
    echo "${ports[0]} $controller" >"$dir/ports"
    while read -r line; do overrides+=(--override "$line"); done <"$dir/settings"
    JAVA_TOOL_OPTIONS=$(allowed_urls) "$HERE/start-kafka" "$dir" "${overrides[@]}" \
      --override "listeners=$listeners,CONTROLLER://127.0.0.1:$controller" >/dev/null
  else
    echo "listeners=$listeners" | cat - "$dir/settings" >"$dir/server.properties"
    setsid "$(strata_bin)" start --config "$dir/server.properties" --data-dir "$dir/data" \
      >"$dir/server.out" 2>"$dir/server.log" </dev/null &
    echo $! >"$dir/server.pid"
    await 60 $! "$dir/server.log" grep -q '^ready' "$dir/server.out"
  fi
}

port_of() { # LISTENER
  local i
  for i in "${!LISTENERS[@]}"; do [ "${LISTENERS[i]}" != "$1" ] || echo "${ports[i]}"; done
}
