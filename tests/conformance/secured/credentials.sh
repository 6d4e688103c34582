# Sourced by ../security: who there is. Keys, certificates, tokens and client.properties, made for one run below $work.

# sign NAME SUBJECT: NAME.key, NAME.crt and both as NAME.pem.
sign() {
  openssl req -newkey rsa:2048 -nodes -keyout "$work/$1.key" -out "$work/$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -out "$work/$1.crt" \
    -days 2 -extfile "$work/ext" 2>/dev/null
  cat "$work/$1.key" "$work/$1.crt" >"$work/$1.pem"
}

pkcs12() { # NAME: NAME.p12 of NAME.crt and its key
  openssl pkcs12 -export -in "$work/$1.crt" -inkey "$work/$1.key" -certfile "$work/ca.pem" -name "$1" \
    -passout pass:changeit -out "$work/$1.p12"
}

certificates() {
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >"$work/ext"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/ca.key" -out "$work/ca.pem" -days 2 -subj /CN=authority 2>/dev/null
  sign server /CN=localhost; pkcs12 server
  sign keyed /CN=localhost
  # An encrypted PEM key: as openssl writes one, and as Java 17, which knows no other, reads one.
  openssl pkcs8 -topk8 -v2 aes-256-cbc -in "$work/keyed.key" -passout pass:k-secret | cat - "$work/keyed.crt" >"$work/keyed-strata.pem"
  openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in "$work/keyed.key" -passout pass:k-secret | cat - "$work/keyed.crt" >"$work/keyed-kafka.pem"
  sign carol '/C=DE/O=Ex, Inc./OU=dev/CN=carol' # mapped to her common name
  sign machine '/C=DE/O=Robots/CN=Machine-7'    # mapped to lower case
  sign erin '/CN=erin/emailAddress=erin@example.org'  # mapped by no rule but DEFAULT
  for n in 1 2; do sign "next-$n" /CN=localhost; pkcs12 "next-$n"; done
  sign stranger /CN=elsewhere; pkcs12 stranger
  keytool -importcert -noprompt -alias ca -file "$work/ca.pem" -keystore "$work/trust.p12" -storetype PKCS12 \
    -storepass changeit 2>/dev/null
}

# client NAME LISTENER [MECHANISM JAAS [SETTING...]]: a client.properties; LISTENER is one of plain, sasl, ssl, both, renewed, issued.
client() {
  local name=$1 listener=$2 protocol
  case $listener in plain) protocol=PLAINTEXT ;; ssl) protocol=SSL ;; both) protocol=SASL_SSL ;; *) protocol=SASL_PLAINTEXT ;; esac
  {
    printf '# %s\nsecurity.protocol=%s\n' "$listener" "$protocol"
    case $protocol in *SSL) printf 'ssl.truststore.type=PEM\nssl.truststore.location=%s\n' "$work/ca.pem" ;; esac
    if [ $# -ge 4 ]; then
      printf 'sasl.mechanism=%s\nsasl.jaas.config=org.apache.kafka.common.security.%s\n' "$3" "$4"
      shift 4
    else shift 2; fi
    [ $# = 0 ] || printf '%s\n' "$@"
  } >"$work/$name.properties"
}

by_plain() { client "$1" "$2" PLAIN "plain.PlainLoginModule required username=\"$3\" password=\"$4\";"; }
by_scram() { client "$1" "$2" "$3" "scram.ScramLoginModule required username=\"$4\" password=\"$5\"${6:-};"; }
by_certificate() { client "$1" ssl - "" "ssl.keystore.type=PEM" "ssl.keystore.location=$work/$1.pem"; sed -i /^sasl/d "$work/$1.properties"; }
by_bearer() { # NAME LISTENER TOKEN
  client "$1" "$2" OAUTHBEARER 'oauthbearer.OAuthBearerLoginModule required;' "sasl.oauthbearer.token.endpoint.url=file://$work/$3.jwt" \
    "sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler"
}

clients() {
  client anonymous plain
  by_plain plain sasl alice b-secret
  by_plain plain-tls both alice b-secret
  by_plain plain-wrong sasl alice wrong
  by_plain plain-nobody sasl nobody x
  by_plain eve sasl eve e-secret
  by_plain frank sasl frank f-secret
  by_scram scram-256 sasl SCRAM-SHA-256 bob c=secret
  by_scram scram-512 both SCRAM-SHA-512 bob c=secret
  by_scram scram-wrong sasl SCRAM-SHA-256 bob wrong
  by_scram scram-nobody sasl SCRAM-SHA-256 nobody x
  by_scram scram-gone sasl SCRAM-SHA-512 gone g-secret
  by_scram scram-renewed renewed SCRAM-SHA-256 bob c=secret
  for name in carol machine erin; do by_certificate "$name"; done
  client no-certificate ssl
  client not-enabled sasl GSSAPI 'plain.PlainLoginModule required username="alice" password="b-secret";'
  for token in good forged expired audience unsigned shared; do by_bearer "oauth-$token" sasl "$token"; done
  for token in good next forged; do by_bearer "issued-$token" issued "$token"; done
}
