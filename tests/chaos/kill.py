"""SIGKILL while librdkafka produces with acks=all and idempotence, again and again, on the same data.

At the end, every record that was acknowledged is where its acknowledgement said, no record is there twice, and the
records of a partition are in the order in which they were sent. The producer lives through all of it: it is never told
that a record failed.
"""

import argparse
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import servers

PARTITIONS = 3
RECORDS_PER_S_MAX = 20_000
WAIT_S = 120


class Sender(threading.Thread):
    """Sends the numbers 0, 1, 2... until it is told to stop, then waits for every acknowledgement."""

    def __init__(self, bootstrap, topic):
        super().__init__()
        self.topic, self.sent, self.acknowledged, self.failed = topic, 0, {}, []
        self.stopping = threading.Event()
        self.producer = Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "delivery.timeout.ms": WAIT_S * 1000,
            "reconnect.backoff.max.ms": 500, "queue.buffering.max.messages": 20_000}, logger=servers.QUIET)
        self.start()

    def on_delivery(self, error, message):
        if error:
            self.failed.append(str(error))
        else:
            self.acknowledged[int(message.key())] = (message.partition(), message.offset())

    def run(self):
        while not self.stopping.is_set():
            try:
                self.producer.produce(self.topic, b"x" * (self.sent % 500), str(self.sent), self.sent % PARTITIONS,
                                      on_delivery=self.on_delivery)
                self.sent += 1
            except BufferError:  # the server is down and the queue full
                self.producer.poll(0.05)
            if self.sent % (RECORDS_PER_S_MAX // 100) == 0:
                self.producer.poll(0.01)
        self.producer.flush(WAIT_S)

    def wait_for_more(self, count):
        """Returns when count more records are acknowledged: the server is in the midst of it."""
        target, end = len(self.acknowledged) + count, time.monotonic() + WAIT_S
        while len(self.acknowledged) < target:
            if self.failed or time.monotonic() > end:
                sys.exit(f"no more acknowledgements: {self.failed[:3] or 'in time'}")
            time.sleep(0.001)


def read_all(bootstrap, topic):
    """Every record's number, by partition and offset."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "auto.offset.reset": "error"})
    ends = {partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), 30)[1] for partition in range(PARTITIONS)}
    consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
    found, end = {}, time.monotonic() + WAIT_S
    position = dict.fromkeys(ends, 0)
    while position != ends:
        if time.monotonic() > end:
            sys.exit(f"read up to {position} of {ends} in time")
        for message in consumer.consume(10_000, 1):
            if message.error():
                raise KafkaException(message.error())
            found[message.partition(), message.offset()] = int(message.key())
            position[message.partition()] = message.offset() + 1
    consumer.close()
    return found


def check(sender, found):
    wrong = []
    for number, place in sender.acknowledged.items():
        if found.get(place) != number:
            wrong.append(f"{number} was acknowledged at {place}, where there is {found.get(place)}")
    if len(set(found.values())) != len(found):
        wrong.append(f"{len(found) - len(set(found.values()))} records are there twice")
    for partition in range(PARTITIONS):
        numbers = [found[place] for place in sorted(found) if place[0] == partition]
        if numbers != sorted(numbers):
            wrong.append(f"partition {partition} is out of order")
    if sender.failed:
        wrong.append(f"the producer was told of {len(sender.failed)} failures: {sender.failed[0]}")
    if len(sender.acknowledged) != sender.sent:
        wrong.append(f"{sender.sent - len(sender.acknowledged)} records of {sender.sent} are without an answer")
    if wrong:
        sys.exit("\n".join(wrong[:10]))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=["strata", "kafka"], default="strata")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    chance, topic = random.Random(options.seed), "kill"
    print(f"kill: {options.rounds} times, seed {options.seed}", flush=True)
    with servers.Folder() as folder:
        server = folder.server(options.server)
        admin = AdminClient({"bootstrap.servers": server.bootstrap}, logger=servers.QUIET)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
        sender = Sender(server.bootstrap, topic)
        slowest = 0
        try:
            for _ in range(options.rounds):
                sender.wait_for_more(chance.randrange(1, 2_000))
                server.kill()
                server.start()
                slowest = max(slowest, server.started_in_s)
        finally:
            sender.stopping.set()
            sender.join()
        check(sender, read_all(server.bootstrap, topic))
        server.stop()
        print(f"{options.server}: killed {options.rounds} times, back in at most {slowest:.1f} s; "
              f"{len(sender.acknowledged)} acknowledged records are all there, once, in order")


main()
