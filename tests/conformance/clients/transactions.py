"""Transactions with librdkafka (confluent-kafka), which speaks transaction version 1: transactions.py BOOTSTRAP."""

import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP = sys.argv[1]
IN, OUT = "txn-rd-in", "txn-rd-out"
WAIT = 30


def producer(transactional_id, **settings):
    made = Producer({"bootstrap.servers": BOOTSTRAP, "transactional.id": transactional_id, **settings})
    made.init_transactions(WAIT)
    return made


def send(to, topic, values):
    errors = []
    for value in values:
        to.produce(topic, value=value, partition=0, on_delivery=lambda error, _: error and errors.append(error.name()))
    to.flush(WAIT)
    return errors


def read(topic, isolation):
    consumer = Consumer(
        {"bootstrap.servers": BOOTSTRAP, "group.id": "reader", "isolation.level": isolation, "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    values, end = [], time.monotonic() + WAIT
    while time.monotonic() < end:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            break
        values.append(message.value().decode())
    consumer.close()
    return values


def committed(group):
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group})
    offset = consumer.committed([TopicPartition(IN, 0)], WAIT)[0].offset
    consumer.close()
    return offset


def attempt(step, *args):
    try:
        step(*args)
        return "done"
    except KafkaException as error:
        what = error.args[0]
        return f"{what.name()} fatal={what.fatal()} abort={what.txn_requires_abort()}"


admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
for future in admin.create_topics([NewTopic(IN, 1, 1), NewTopic(OUT, 1, 1)]).values():
    future.result(WAIT)

first = producer("rd")
first.begin_transaction()
print("sent", send(first, OUT, ["a", "b"]))
first.commit_transaction(WAIT)
first.begin_transaction()
print("sent", send(first, OUT, ["c"]))
first.abort_transaction(WAIT)
print("committed", read(OUT, "read_committed"), "all", read(OUT, "read_uncommitted"))

plain = Producer({"bootstrap.servers": BOOTSTRAP})
print("sent", send(plain, IN, [f"in{number}" for number in range(5)]))
for commit in (False, True):
    source = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "rd-group", "auto.offset.reset": "earliest",
                       "enable.auto.commit": False, "isolation.level": "read_committed"})
    source.subscribe([IN])
    values = [message.value().decode() for message in source.consume(5, WAIT)]
    first.begin_transaction()
    print("sent", send(first, OUT, [f"{value}/{commit}" for value in values]))
    first.send_offsets_to_transaction(source.position(source.assignment()), source.consumer_group_metadata(), WAIT)
    if commit:
        first.commit_transaction(WAIT)
    else:
        first.abort_transaction(WAIT)
    source.close()
    print("committed", commit, committed("rd-group"))

first.begin_transaction()
print("sent", send(first, OUT, ["zombie"]))
second = producer("rd")
print("the first one commits:", attempt(first.commit_transaction, WAIT))
second.begin_transaction()
print("sent", send(second, OUT, ["second"]))
second.commit_transaction(WAIT)
print("committed", read(OUT, "read_committed"))
