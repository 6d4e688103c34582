"""MirrorMaker 2, unmodified, from one server to a second one of the same kind.
Usage: mirror.py BOOTSTRAP kafka|strata

Topics come over with their partitions, settings and records; a group's offsets are translated; MirrorMaker is ended and
started again, and no record is missing or there twice.
"""

import pathlib
import sys

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType

import worker

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))
import servers

TOPIC, MIRRORED, GROUP = "mirrored.lines", "source.mirrored.lines", "readers"
SETTINGS = {"node.id": 1, "group.initial.rebalance.delay.ms": 0, "offsets.topic.num.partitions": 5}


def properties(source, target):
    seconds = ("refresh.topics", "refresh.groups", "sync.topic.configs", "emit.checkpoints", "emit.heartbeats", "sync.group.offsets")
    factors = ("replication.factor", "checkpoints.topic.replication.factor", "heartbeats.topic.replication.factor",
               "offset-syncs.topic.replication.factor", "config.storage.replication.factor",
               "offset.storage.replication.factor", "status.storage.replication.factor")
    return {
        "clusters": "source, target", "source.bootstrap.servers": source, "target.bootstrap.servers": target,
        "source->target.enabled": "true", "target->source.enabled": "false", "topics": r"mirrored\\..*", "groups": ".*",
        "tasks.max": 1, "sync.group.offsets.enabled": "true", "offset.lag.max": 0, "offset.flush.interval.ms": 500,
        "sync.topic.acls.enabled": "false", "producer.compression.type": "zstd",
    } | {f"{name}.interval.seconds": 1 for name in seconds} | dict.fromkeys(factors, 1)  # fmt: skip


def produce(bootstrap, numbers, partitions):
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number in numbers:
        key = None if number % 7 == 0 else f"key {number % 5}"
        value = None if number % 11 == 10 else f"value {number}"
        producer.produce(TOPIC, value, key, number % partitions, timestamp=1_700_000_000_000 + number,
                         headers=[("n", str(number).encode()), ("n", b""), ("null", None)])
    producer.flush(30)


def show(bootstrap, count):
    """All that the target has, record for record."""
    found = worker.records(bootstrap, MIRRORED, count)
    print(f"{len(found)} records in {MIRRORED}")
    for message in found:
        print(message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers())


def commit(bootstrap, offsets):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(TOPIC, partition, offset) for partition, offset in offsets.items()], asynchronous=False)
    consumer.close()


def committed(bootstrap):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP)])[GROUP].result(10)
    return {p.partition: p.offset for p in answer.topic_partitions if p.topic == MIRRORED and p.offset >= 0}


def run(source, target, folder):
    admin = AdminClient({"bootstrap.servers": source})
    topic = NewTopic(TOPIC, 3, 1, config={"retention.ms": "864000000000", "max.message.bytes": "900000"})
    admin.create_topics([topic])[TOPIC].result(30)
    worker.wait_for("the topic", lambda: worker.partitions(admin, TOPIC) == [0, 1, 2])
    produce(source, range(60), 3)
    commit(source, {0: 20, 1: 20, 2: 20})
    own = properties(source, target)
    start = lambda: worker.Java("org.apache.kafka.connect.mirror.MirrorMaker", own, folder, "mirror")  # noqa: E731
    process = start()
    try:
        target_admin = AdminClient({"bootstrap.servers": target})
        worker.wait_for("the mirrored topic", lambda: MIRRORED in target_admin.list_topics(timeout=10).topics)
        show(target, 60)
        print("partitions:", worker.wait_for("partitions", lambda: worker.partitions(target_admin, MIRRORED)))
        for key in ("retention.ms", "max.message.bytes", "cleanup.policy"):
            print(key, worker.setting(target, MIRRORED, key))
        worker.wait_for("the group's offsets", lambda: committed(target) == {0: 20, 1: 20, 2: 20})
        print("the group's offsets were translated")

        admin.create_partitions([NewPartitions(TOPIC, 4)])[TOPIC].result(30)
        entry = ConfigEntry("max.message.bytes", "800000", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result(30)
        worker.wait_for("a new partition", lambda: worker.partitions(target_admin, MIRRORED) == [0, 1, 2, 3])
        worker.wait_for("a new setting", lambda: worker.setting(target, MIRRORED, "max.message.bytes") == "800000")
        print("a new partition and a new setting came over")
        process.end()

        worker.wait_for("all partitions", lambda: worker.partitions(admin, TOPIC) == [0, 1, 2, 3])
        produce(source, range(60, 100), 4)
        process = start()
        show(target, 100)
        print("heartbeats come over:", len(worker.records(target, "heartbeats", 2)) >= 2)
    finally:
        process.end()
    print("records at last:", len(worker.records(target, MIRRORED, 100)))
    print("topics of the source:", [name for name in worker.topics(source) if name.startswith(("mirrored", "mm2", "heart"))])
    print("topics of the target:", worker.topics(target))


if __name__ == "__main__":
    with worker.folder() as work:
        overrides = [word for key, value in SETTINGS.items() for word in ("--override", f"{key}={value}")]
        second = servers.Server(sys.argv[2], work / "target", overrides)
        try:
            run(sys.argv[1], second.bootstrap, work)
        finally:
            second.stop()
