"""What the Connect scenarios share: a Java process that is started and ended, waiting for what must come, and a plain
client to look at the servers with."""

import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

WAIT_S_MAX = 90


def wait_for(what, look):
    """The first answer of `look` that is true. What else but time could tell? So it is asked again and again."""
    end = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < end:
        with contextlib.suppress(KafkaException, OSError):
            found = look()
            if found:
                return found
        time.sleep(0.2)
    sys.exit(f"waited {WAIT_S_MAX} s for {what}")


class Java:
    """One main class, its words in a file of the folder."""

    def __init__(self, main, properties, folder, name):
        self.words = folder / f"{name}.log"
        path = folder / f"{name}.properties"
        path.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        command = ["java", "-Xmx384M", *shlex.split(os.environ["CONNECT_JVM"]), "-cp", os.environ["CONNECT_CLASSPATH"], main]
        with open(self.words, "a") as words:
            self.process = subprocess.Popen([*command, str(path)], stdout=words, stderr=words, stdin=subprocess.DEVNULL)

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def folder():
    """A temporary folder; it stays where the scenario fails."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="connect-"))
    try:
        yield path
    except BaseException:
        print(f"logs: {path}", file=sys.stderr)
        for log in path.glob("*.log"):
            print(*log.read_text().splitlines()[-15:], sep="\n", file=sys.stderr)
        raise
    for file in sorted(path.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    path.rmdir()


def records(bootstrap, topic, count):
    """The first `count` committed records of a topic, by partition and offset; waits until they are there."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": "not-used", "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "isolation.level": "read_committed"})  # fmt: skip
    known = wait_for(f"the topic {topic}", lambda: partitions(consumer, topic))
    consumer.assign([TopicPartition(topic, partition, 0) for partition in known])
    found = []

    def read():
        for message in consumer.consume(500, 0.5):
            if message.error():
                raise KafkaException(message.error())
            found.append(message)
        return len(found) >= count

    wait_for(f"{count} records in {topic}", read)
    consumer.close()
    return sorted(found, key=lambda message: (message.partition(), message.offset()))


def partitions(client, topic):
    return sorted(client.list_topics(topic, timeout=10).topics[topic].partitions)


def topics(bootstrap):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    return sorted(name for name in admin.list_topics(timeout=10).topics if not name.startswith("__"))


def setting(bootstrap, topic, key):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    return admin.describe_configs([resource])[resource].result(10)[key].value
