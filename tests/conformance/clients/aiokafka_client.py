"""aiokafka. Usage: aiokafka_client.py BOOTSTRAP"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import scenario

LOOP = asyncio.new_event_loop()


def now(awaitable):
    return LOOP.run_until_complete(asyncio.wait_for(awaitable, 30))


class Member:
    def __init__(self, bootstrap, group, topic):
        async def start():
            self.consumer = AIOKafkaConsumer(
                topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
                enable_auto_commit=False, session_timeout_ms=10_000, heartbeat_interval_ms=500)
            # It returns when the group has its first generation: until then the other members must run too, and they
            # do, as they live on the same loop.
            await self.consumer.start()
        now(start())

    def poll(self):
        found = now(self.consumer.getmany(timeout_ms=300))
        return [scenario.Record(record.partition, record.offset, record.timestamp, record.key, record.value, list(record.headers))
                for records in found.values() for record in records]

    def assignment(self):
        return sorted(at.partition for at in self.consumer.assignment())

    def commit(self):
        now(self.consumer.commit())

    def close(self):
        now(self.consumer.stop())


class Client:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        now(self.start())

    async def start(self):
        self.admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await self.admin.start()

    def create(self, topic, partitions, config):
        answer = now(self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)]))
        return answer.topic_errors[0][1]

    def topics(self):
        found = now(self.admin.describe_topics())
        return {topic["topic"]: len(topic["partitions"]) for topic in found}

    def produce(self, topic, codec, records):
        async def send():
            producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True, linger_ms=50,
                                        compression_type=None if codec == "none" else codec)
            await producer.start()
            sent = [await producer.send(topic, record.value, record.key, record.partition, record.timestamp, record.headers)
                    for record in records]
            await asyncio.gather(*sent)
            await producer.stop()
        now(send())

    def offsets(self, topic, spec):
        asked = [TopicPartition(topic, partition) for partition in range(scenario.PARTITIONS)]

        async def look():
            consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
            await consumer.start()
            try:
                if spec == "earliest":
                    return await consumer.beginning_offsets(asked)
                if spec == "latest":
                    return await consumer.end_offsets(asked)
                found = await consumer.offsets_for_times({at: spec for at in asked})
                return {at: answer.offset if answer else -1 for at, answer in found.items()}
            finally:
                await consumer.stop()
        return {at.partition: offset for at, offset in now(look()).items()}

    def join(self, group, topic):
        return Member(self.bootstrap, group, topic)

    def committed(self, group, topic):
        return {at.partition: found.offset for at, found in now(self.admin.list_consumer_group_offsets(group)).items()}

    def group(self, group):
        [answer] = now(self.admin.describe_consumer_groups([group]))
        found = answer.to_object()["groups"][0]
        return found["state"], len(found["members"])

    def delete_group(self, group):
        return "not offered"

    def delete_topic(self, topic):
        return now(self.admin.delete_topics([topic])).topic_error_codes[0][1]


client = Client(sys.argv[1])
scenario.play(client, "aiokafka")
now(client.admin.close())
