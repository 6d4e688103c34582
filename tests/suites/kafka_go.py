"""kafka-go: github.com/segmentio/kafka-go, at the version of go/go.mod.

Its tests know one broker, localhost:9092 (and :9093 for SASL), which is why they are played in a network namespace.
Settings and users are those of its continuous integration (.circleci/config.yml).
"""

import subprocess

import suite

SASL = "listener.name.sasl_plaintext"
LOGIN = "org.apache.kafka.common.security"


class KafkaGo(suite.Suite):
    name = "kafka-go"
    ports = (9092, 9099)
    settings = {
        "auto.create.topics.enable": "true",
        "message.max.bytes": "200000000",
        "group.initial.rebalance.delay.ms": "0",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        f"{SASL}.plain.sasl.jaas.config": f'{LOGIN}.plain.PlainLoginModule required username="adminplain" '
        'password="admin-secret" user_adminplain="admin-secret";',
        f"{SASL}.scram-sha-256.sasl.jaas.config": f"{LOGIN}.scram.ScramLoginModule required;",
        f"{SASL}.scram-sha-512.sasl.jaas.config": f"{LOGIN}.scram.ScramLoginModule required;",
    }
    LISTENERS = "PLAINTEXT://localhost:9092,SASL_PLAINTEXT://localhost:9093"
    settings_of = {
        "kafka": {
            "listeners": f"{LISTENERS},CONTROLLER://127.0.0.1:9099",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        },
        "strata": {"listeners": LISTENERS},
    }
    PACKAGES = ("github.com/segmentio/kafka-go", "github.com/segmentio/kafka-go/sasl")
    # Newer versions mean other names for the users below, and nothing else that matters here.
    ENVIRONMENT = {"KAFKA_VERSION": "4.0.0", "KAFKA_SKIP_NETTEST": "1"}

    def install(self):
        for package in self.PACKAGES:
            suite.go_binary(package)

    def prepare(self, bootstrap):
        for bits in (256, 512):
            script = (
                f'. "{suite.HERE.parent}/conformance/env.sh"; tool kafka-configs --bootstrap-server {bootstrap} --alter '
                f"--entity-type users --entity-name adminscram{bits} --add-config 'SCRAM-SHA-{bits}=[password=admin-secret-{bits}]'"
            )
            subprocess.run(["bash", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def play(self, bootstrap, folder, tests, quick):
        results = {}
        for package in self.PACKAGES:
            results |= suite.go_test(package, folder, self.ENVIRONMENT, tests, 480)
        return results
