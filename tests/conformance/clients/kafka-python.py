"""kafka-python. Usage: kafka-python.py BOOTSTRAP"""

import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, errors
from kafka.admin import OffsetSpec

import scenario


class Member:
    def __init__(self, bootstrap, group, topic):
        self.consumer = KafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
            session_timeout_ms=10_000, heartbeat_interval_ms=500)

    def poll(self):
        return [scenario.Record(found.partition, found.offset, found.timestamp, found.key, found.value, list(found.headers))
                for records in self.consumer.poll(300).values() for found in records]

    def assignment(self):
        return sorted(at.partition for at in self.consumer.assignment())

    def commit(self):
        self.consumer.commit()

    def close(self):
        self.consumer.close()


class Client:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def create(self, topic, partitions, config):
        wanted = {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": config}}
        return self.admin.create_topics(wanted, raise_errors=False)["topics"][0]["error_code"]

    def topics(self):
        return {topic["name"]: len(topic["partitions"]) for topic in self.admin.describe_topics()}

    def produce(self, topic, codec, records):
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", linger_ms=50,
                                 compression_type=None if codec == "none" else codec)
        sent = []
        for record in records:
            headers = [header for header in record.headers if header[1] is not None]  # it refuses to send null ones
            sent.append(producer.send(topic, record.value, record.key, headers, record.partition, record.timestamp))
        for future in sent:
            future.get(30)
        producer.close()

    def offsets(self, topic, spec):
        spec = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST}.get(spec, spec)
        asked = {TopicPartition(topic, partition): spec for partition in range(scenario.PARTITIONS)}
        return {at.partition: found.offset for at, found in self.admin.list_partition_offsets(asked).items()}

    def join(self, group, topic):
        return Member(self.bootstrap, group, topic)

    def committed(self, group, topic):
        return {at.partition: found.offset for at, found in self.admin.list_group_offsets(group)[group].items()}

    def group(self, group):
        found = self.admin.describe_groups([group])[group]
        return found["group_state"], len(found["members"])

    def delete_group(self, group):
        word = self.admin.delete_groups([group])[group]
        return 0 if word == "OK" else getattr(errors, word).errno

    def delete_topic(self, topic):
        return self.admin.delete_topics([topic], raise_errors=False)["topics"][0]["error_code"]


scenario.play(Client(sys.argv[1]), "kafka-python")
