"""kafka-python and aiokafka by SCRAM and PLAIN over TLS: kafka_python.py BOOTSTRAP CA-FILE TOPIC."""

import asyncio
import logging
import ssl
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

bootstrap, authority, topic = sys.argv[1:]
logging.disable(logging.CRITICAL)
WAIT_MS = 30_000
RECORDS = 3
LOGINS = [
    ("SCRAM-SHA-512", "bob", "c=secret"),
    ("SCRAM-SHA-256", "bob", "c=secret"),
    ("PLAIN", "alice", "b-secret"),
    ("SCRAM-SHA-512", "bob", "wrong"),
    ("PLAIN", "alice", "wrong"),
]


def common(mechanism, user, password):
    trust = ssl.create_default_context(cafile=authority)
    return {
        "bootstrap_servers": bootstrap, "security_protocol": "SASL_SSL", "ssl_context": trust, "sasl_mechanism": mechanism,
        "sasl_plain_username": user, "sasl_plain_password": password,
    }  # fmt: skip


def told(error):
    """The error, or the one that it stands for."""
    return type(getattr(error, "__cause__", None) or error).__name__


def kafka_python(settings):
    try:
        producer = KafkaProducer(**settings, bootstrap_timeout_ms=1_500)
    except Exception as error:
        return f"is refused: {told(error)}"
    for n in range(RECORDS):
        producer.send(topic, f"kafka-python {n}".encode(), partition=0).get(WAIT_MS / 1000)
    producer.close()
    consumer = KafkaConsumer(**settings, auto_offset_reset="earliest", consumer_timeout_ms=WAIT_MS)
    consumer.assign([TopicPartition(topic, 0)])
    read = [next(consumer) for _ in range(RECORDS)]
    consumer.close()
    admin = KafkaAdminClient(**settings)
    try:
        answer = admin.create_topics([NewTopic("forbidden", 1, 1)], raise_errors=True)
        refused = f"made it: {answer}"
    except Exception as error:
        refused = told(error)
    admin.close()
    return f"writes, reads {len(read)}; may not create: {refused}"


async def aiokafka(settings):
    producer = AIOKafkaProducer(**settings)
    try:
        await producer.start()
    except Exception as error:
        await producer.stop()
        return f"is refused: {told(error)}"
    for n in range(RECORDS):
        await producer.send_and_wait(topic, f"aiokafka {n}".encode(), partition=0)
    await producer.stop()
    consumer = AIOKafkaConsumer(**settings, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    read = [await asyncio.wait_for(consumer.getone(), WAIT_MS / 1000) for _ in range(RECORDS)]
    await consumer.stop()
    return f"writes, reads {len(read)}"


for login in LOGINS:
    print("kafka-python", *login, kafka_python(common(*login)))
    print("aiokafka", *login, asyncio.run(aiokafka(common(*login))))
