"""librdkafka by every mechanism that it has: who may write, who may not, and what it is told."""

import sys

from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic

sasl_port, ssl_port, sasl_ssl_port, work = sys.argv[1:]


def config(port, protocol, mechanism=None, user=None, password=None, **more):
    conf = {"bootstrap.servers": f"127.0.0.1:{port}", "security.protocol": protocol, "log_level": 0, **more}
    if protocol.endswith("SSL"):
        conf["ssl.ca.location"] = f"{work}/ca.pem"
    if mechanism:
        conf |= {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}
    return conf


clients = {
    "PLAIN": config(sasl_port, "SASL_PLAINTEXT", "PLAIN", "alice", "b-secret"),
    "SCRAM-SHA-256": config(sasl_port, "SASL_PLAINTEXT", "SCRAM-SHA-256", "bob", "c=secret"),
    "SCRAM-SHA-512 over TLS": config(sasl_ssl_port, "SASL_SSL", "SCRAM-SHA-512", "bob", "c=secret"),
    "certificate": config(ssl_port, "SSL", **{
        "ssl.certificate.location": f"{work}/carol.crt", "ssl.key.location": f"{work}/carol.key"}),
}
for name, conf in clients.items():
    delivered = []
    producer = Producer(conf)
    producer.produce("t", value=f"librdkafka by {name}", partition=0, on_delivery=lambda err, msg: delivered.append(err))
    producer.flush(20)
    print(name, "writes:", [err.name() if err else "ok" for err in delivered])
    admin = AdminClient(conf)
    topics = admin.list_topics(timeout=20).topics
    print(name, "sees:", sorted(topics))
    try:
        admin.create_topics([NewTopic("forbidden", 1, 1)])["forbidden"].result(20)
        print(name, "made a topic that it may not")
    except Exception as error:
        print(name, "is told:", error.args[0].name())

wrong = config(sasl_port, "SASL_PLAINTEXT", "SCRAM-SHA-512", "bob", "wrong")
told = []
consumer = Consumer({**wrong, "group.id": "g", "error_cb": lambda error: told.append(error.name())})
for _ in range(100):
    consumer.poll(0.1)
    if "_AUTHENTICATION" in told:
        break
print("wrong password:", "_AUTHENTICATION" in told)
consumer.close()
