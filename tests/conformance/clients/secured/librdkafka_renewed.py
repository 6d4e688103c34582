"""librdkafka authenticates again (KIP-368): librdkafka_renewed.py BOOTSTRAP TOPIC SECONDS. It writes and reads for some
sessions; one that was not renewed in time would be cut off, which librdkafka tells as an error."""

import sys
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition

bootstrap, topic, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
WAIT_SECONDS = 30
errors = []
conf = {
    "bootstrap.servers": bootstrap, "security.protocol": "SASL_PLAINTEXT", "log_level": 0, "error_cb": lambda e: errors.append(e.name()),
    "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "bob", "sasl.password": "c=secret",
}  # fmt: skip
producer = Producer(conf)
consumer = Consumer({**conf, "group.id": "renewed", "enable.auto.commit": False})
_, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
consumer.assign([TopicPartition(topic, 0, end)])
delivered, read, mine = [], 0, f"librdkafka {uuid.uuid4()}".encode()


def poll():
    """Whether the next record is one of ours: others write to the topic as well."""
    message = consumer.poll(0.05)
    return message is not None and not message.error() and message.value() == mine


until = time.monotonic() + seconds
while time.monotonic() < until:
    producer.produce(topic, value=mine, partition=0, on_delivery=lambda err, _: delivered.append(err))
    producer.poll(0.05)
    read += poll()
producer.flush(20)
until = time.monotonic() + WAIT_SECONDS
while read < len(delivered) and time.monotonic() < until:
    read += poll()
print("librdkafka goes on over several sessions; not delivered:", sum(map(bool, delivered)), "not read:", len(delivered) - read,
      "errors:", sorted(set(errors)))  # fmt: skip
consumer.close()
