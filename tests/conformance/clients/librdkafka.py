"""librdkafka, through confluent-kafka. Usage: librdkafka.py BOOTSTRAP [classic|consumer]"""

import sys

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

import scenario


def code(futures):
    try:
        for future in futures.values():
            future.result(30)
        return 0
    except KafkaException as error:
        return error.args[0].code()


class Member:
    def __init__(self, bootstrap, protocol, group, topic):
        settings = {"bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol,
                    "auto.offset.reset": "earliest", "enable.auto.commit": False}
        if protocol == "classic":  # else the broker's business
            settings |= {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 500}
        self.consumer = Consumer(settings)
        self.consumer.subscribe([topic])

    def poll(self):
        found = []
        for message in self.consumer.consume(500, 0.3):
            if message.error():
                raise KafkaException(message.error())
            found.append(scenario.Record(
                message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(),
                message.headers() or []))
        return found

    def assignment(self):
        return sorted(partition.partition for partition in self.consumer.assignment())

    def commit(self):
        self.consumer.commit(asynchronous=False)

    def close(self):
        self.consumer.close()


class Client:
    def __init__(self, bootstrap, protocol):
        self.bootstrap = bootstrap
        self.protocol = protocol
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def create(self, topic, partitions, config):
        return code(self.admin.create_topics([NewTopic(topic, partitions, 1, config=config)]))

    def topics(self):
        return {name: len(topic.partitions) for name, topic in self.admin.list_topics(timeout=30).topics.items()}

    def produce(self, topic, codec, records):
        failed = []
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True,
                             "compression.type": codec, "linger.ms": 50})
        for record in records:
            producer.produce(topic, record.value, record.key, record.partition, timestamp=record.timestamp,
                             headers=record.headers, on_delivery=lambda error, _: error and failed.append(error))
        if producer.flush(30) or failed:
            sys.exit(f"not delivered: {failed or 'in time'}")

    def offsets(self, topic, spec):
        named = {"earliest": OffsetSpec.earliest(), "latest": OffsetSpec.latest()}
        spec = named.get(spec) or OffsetSpec.for_timestamp(spec)
        asked = {TopicPartition(topic, partition): spec for partition in range(scenario.PARTITIONS)}
        return {at.partition: future.result(30).offset for at, future in self.admin.list_offsets(asked).items()}

    def join(self, group, topic):
        return Member(self.bootstrap, self.protocol, group, topic)

    def committed(self, group, topic):
        [future] = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        return {at.partition: at.offset for at in future.result(30).topic_partitions}

    def group(self, group):
        found = self.admin.describe_consumer_groups([group])[group].result(30)
        return found.state.name.title(), len(found.members)

    def delete_group(self, group):
        return code(self.admin.delete_consumer_groups([group]))

    def delete_topic(self, topic):
        return code(self.admin.delete_topics([topic]))


protocol = sys.argv[2] if len(sys.argv) > 2 else "classic"
scenario.play(Client(sys.argv[1], protocol), "librdkafka" if protocol == "classic" else "librdkafka-kip848")
