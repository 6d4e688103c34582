"""librdkafka authenticates again (KIP-368): librdkafka_renewed.py BOOTSTRAP TOPIC SECONDS. It writes and reads for some
sessions; one that was not renewed in time would be cut off, which librdkafka tells as an error."""

import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

bootstrap, topic, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
errors = []
conf = {
    "bootstrap.servers": bootstrap, "security.protocol": "SASL_PLAINTEXT", "log_level": 0, "error_cb": lambda e: errors.append(e.name()),
    "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "bob", "sasl.password": "c=secret",
}  # fmt: skip
producer = Producer(conf)
consumer = Consumer({**conf, "group.id": "renewed", "enable.auto.commit": False})
_, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
consumer.assign([TopicPartition(topic, 0, end)])
delivered, read, mine = [], 0, b"librdkafka renewed"
until = time.monotonic() + seconds
while time.monotonic() < until:
    producer.produce(topic, value=mine, partition=0, on_delivery=lambda err, _: delivered.append(err))
    producer.poll(0.05)
    message = consumer.poll(0.05)
    read += message is not None and not message.error() and message.value() == mine
producer.flush(20)
for _ in range(400):
    if read >= len(delivered):
        break
    message = consumer.poll(0.05)
    read += message is not None and not message.error() and message.value() == mine
print("librdkafka goes on over several sessions:", not any(delivered) and read == len(delivered), sorted(set(errors)))
consumer.close()
